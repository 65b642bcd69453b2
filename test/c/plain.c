/* A C program that never heard of SigmaOS. It plays its one argument. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wait_for_ever(void) {
    for (;;)
        pause();
}

int main(int count, char **arguments) {
    const char *play = count > 1 ? arguments[1] : "";

    /* A code ends it. */
    if (play[0] >= '0' && play[0] <= '9') {
        printf("%s with %s\n", arguments[0], getenv("TOLD") ? getenv("TOLD") : "nothing");
        return atoi(play);
    }
    if (strcmp(play, "segv") == 0)
        raise(SIGSEGV);
    if (strcmp(play, "abort") == 0)
        abort();
    if (strcmp(play, "ignore-term") == 0)
        signal(SIGTERM, SIG_IGN);
    puts("waiting");
    fflush(stdout);
    wait_for_ever();
}
