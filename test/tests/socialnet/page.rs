//! The web page in a real browser.

use crate::http::ask;
use crate::net::Net;
use sigma_test::outside::Chromium;
use sigma_test::{eventually, story, within};

/// The least picture that a browser shows: one pixel.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 13, b'I', b'D', b'A', b'T', 0x78, 0xda, 0x63, 0x64,
    0xf8, 0xcf, 0x50, 0x0f, 0, 3, 0x86, 1, 0x80, 0x5a, 0x34, 0x7d, 0x6b, 0, 0, 0, 0, b'I', b'E', b'N', b'D',
    0xae, 0x42, 0x60, 0x82,
];

/// The text of a post that must be shown as text.
const SCRIPT: &str =
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> hello @bob";

#[test]
fn two_people_register_follow_and_post_in_a_browser() {
    story(async |machine| {
        let Some(mut browser) = Chromium::start().await else { return };
        let net = Net::start(machine).await;
        let address = format!("http://localhost:{}/", net.port);
        // Ada has a phone, Bob a desk.
        let (ada, bob) = (browser.tab(390, 844).await, browser.tab(1280, 800).await);
        for (tab, name) in [(&ada, "ada"), (&bob, "bob")] {
            browser.go(tab, &address).await;
            browser.submit(tab, "#register", &[("username", name), ("password", "correct horse")]).await;
            let text = browser.text(tab).await;
            assert!(text.contains(&format!("@{name}")) && text.contains("Nothing yet"), "{text}");
        }
        browser.submit(&bob, "#follow", &[("username", "ada")]).await;
        assert!(browser.text(&bob).await.contains("Unfollow"));

        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("pixel.png");
        std::fs::write(&picture, PIXEL).unwrap();
        browser.choose(&ada, "#post [name=picture]", &picture).await;
        let text = format!("{SCRIPT} https://example.org/a Привет");
        browser.submit(&ada, "#post", &[("text", &text)]).await;

        browser.go(&bob, &address).await;
        let seen = browser.text(&bob).await;
        // It is on the follower's page, as it was written.
        assert!(seen.contains(SCRIPT) && seen.contains("example.org/a Привет"), "{seen}");
        assert_eq!(browser.evaluate(&bob, "document.title").await, "Home · Sigma Social");
        let mention =
            browser.evaluate(&bob, "document.querySelector('.text a[href=\"/user/bob\"]').innerText");
        assert_eq!(mention.await, "@bob");
        // The browser loads a picture when it is to be seen.
        let shown = "document.querySelector('.said img').naturalWidth";
        eventually("the picture is shown", async || (browser.evaluate(&bob, shown).await == 1).then_some(()))
            .await;
        for tab in [&ada, &bob] {
            browser.go(tab, &address).await;
            let wider = "document.documentElement.scrollWidth > window.innerWidth";
            assert_eq!(browser.evaluate(tab, wider).await, false, "nothing is cut off at the side");
        }
        if let Some(folder) = std::env::var_os("SIGMA_TEST_SCREENSHOTS") {
            browser.go(&ada, &format!("{address}user/ada")).await;
            for (name, tab) in [("phone", &ada), ("desk", &bob)] {
                let file = std::path::Path::new(&folder).join(format!("{name}.png.base64"));
                std::fs::write(file, browser.screenshot(tab).await).unwrap();
            }
        }

        browser.go(&bob, &format!("{address}user/ada")).await;
        browser.submit(&bob, "form[action=\"/unfollow\"]", &[]).await;
        browser.go(&bob, &address).await;
        assert!(browser.text(&bob).await.contains(SCRIPT), "it mentions him");
        browser.submit(&bob, "form[action=\"/logout\"]", &[]).await;
        assert!(browser.text(&bob).await.contains("Log in"));
        let wrong = [("username", "bob"), ("password", "wrong horse")];
        browser.submit(&bob, "#login", &wrong).await;
        assert!(browser.text(&bob).await.contains("the name or the password is wrong"));
    });
}

#[test]
fn the_page_works_by_its_forms_and_only_from_here() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let welcome = net.get("/").await;
        assert_eq!(welcome.status, 200);
        let policy = welcome.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let registered = net.form("/register", &[("username", "ada"), ("password", "correct horse")]).await;
        assert_eq!((registered.status, registered.header("location").as_deref()), (303, Some("/")));
        let cookie = registered.cookie();
        net.form("/register", &[("username", "ada"), ("password", "correct horse")])
            .await
            .refused(409, "taken");
        net.form("/login", &[("username", "ada"), ("password", "wrong")]).await.refused(401, "wrong");
        let post =
            "--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nline\r\n<b>two</b>\r\n--x--\r\n";
        let multipart = ("Content-Type", "multipart/form-data; boundary=x");
        let headers = [multipart, ("Cookie", &*cookie)];
        let posted = within("a post", ask(net.port, "POST", "/post", &headers, post.as_bytes())).await;
        assert_eq!((posted.status, posted.header("location").as_deref()), (303, Some("/user/ada")));
        let page = net.get("/user/ada").await;
        assert!(page.body.contains("line\n&#60;b&#62;two&#60;/b&#62;"), "{}", page.body);
        let elsewhere = [multipart, headers[1], ("Origin", "http://evil.example")];
        ask(net.port, "POST", "/post", &elsewhere, post.as_bytes()).await.refused(400, "another site");
        ask(net.port, "POST", "/post", &[multipart], post.as_bytes()).await.refused(401, "log in");
        let wrong = [("Content-Type", "text/plain"), headers[1]];
        ask(net.port, "POST", "/post", &wrong, b"text").await.refused(400, "multipart");
        net.get("/user/nobody").await.refused(404, "there is no user");
        net.get("/user/ada?start=x").await.refused(400, "start");
        net.get("/nothing").await.refused(404, "no such page");
        net.get("/s/none").await.refused(404, "leads nowhere");
        net.get("/media/7").await.refused(404, "no picture");
    });
}
