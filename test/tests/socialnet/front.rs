//! The HTTP front end as DeathStarBench's clients and people's programs use it.

use crate::http::ask;
use crate::net::{Net, free_port, realm, texts};
use sigma_test::story;

#[test]
fn posts_reach_followers_and_mentioned_users_newest_first() {
    story(async |machine| {
        let net = Net::start(machine).await;
        for id in 0..4 {
            net.register(id).await;
        }
        net.follow(1, 0).await;
        assert_eq!(net.home(1, 0, 10).await.body, "[]");
        net.posted(0, "one").await;
        net.posted(0, "two @username_2 and @username_2, not @nobody").await;
        net.posted(3, "not for them").await;
        let two = "two @username_2 and @username_2, not @nobody";
        assert_eq!(net.sees(1).await, [two, "one"]);
        assert_eq!(net.sees(2).await, [two]);
        assert_eq!(net.sees(0).await, [""; 0]);
        assert_eq!(net.wrote(0).await, [two, "one"]);
        let post = net.home(2, 0, 1).await.posts().remove(0);
        assert_eq!(post["creator"], serde_json::json!({ "user_id": "0", "username": "username_0" }));
        let mentions = serde_json::json!([{ "user_id": "2", "username": "username_2" }]);
        assert_eq!(post["user_mentions"], mentions);
        // From start up to, not including, stop.
        assert_eq!(texts(&net.home(1, 1, 2).await), ["one"]);
        assert_eq!(texts(&net.home(1, 1, 1).await), [""; 0]);
        assert_eq!(texts(&net.timeline(0, 0, 1).await), [two]);
        // Whom one follows later is seen from the beginning; whom one does not follow any more is not seen.
        net.follow(1, 3).await;
        assert_eq!(net.sees(1).await, ["not for them", two, "one"]);
        let names = [("user_name", "username_1"), ("followee_name", "username_0")];
        assert_eq!(net.form("/wrk2-api/user/unfollow", &names).await.status, 200);
        assert_eq!(net.sees(1).await, ["not for them"]);
        assert_eq!(net.form("/wrk2-api/user/follow", &names).await.body, "Success!\n");
        assert_eq!(net.sees(1).await.len(), 3);
    });
}

#[test]
fn a_post_with_all_that_a_post_can_have_is_read_back_equal() {
    story(async |machine| {
        let net = Net::start(machine).await;
        net.register(1).await;
        net.register(2).await;
        let long = "http://example.org/a/b?c=d&e=(f)#g";
        let text = format!("<b>Привет</b> @username_2! 你好 🎉 \"{long}\" & {long}, \\ и\nконец");
        let fields = [
            ("user_id", "1"),
            ("username", "username_1"),
            ("text", &*text),
            ("media_ids", "[\"123456789012345678\", 7]"),
            ("media_types", "[\"png\", \"jpg\"]"),
            ("post_type", "2"),
        ];
        assert_eq!(net.form("/wrk2-api/post/compose", &fields).await.status, 200);
        let post = net.timeline(1, 0, 1).await.posts().remove(0);
        assert_eq!(net.home(2, 0, 1).await.posts()[0], post);
        let urls = post["urls"].as_array().unwrap();
        assert_eq!(urls.len(), 2);
        assert_eq!((&urls[0], urls[0]["expanded_url"].as_str()), (&urls[1], Some(long)));
        let short = urls[0]["shortened_url"].as_str().unwrap();
        assert_eq!(post["text"].as_str().unwrap(), text.replace(long, short));
        assert_eq!(post["post_type"], 2);
        assert_eq!(post["media"][0]["media_id"], "123456789012345678");
        assert_eq!(post["media"][1], serde_json::json!({ "media_id": "7", "media_type": "jpg" }));
        assert!(post["timestamp"].as_str().unwrap().parse::<u64>().is_ok());
        assert_eq!(post["req_id"], post["post_id"]);
        // The short link leads to the long one.
        let path = short.strip_prefix(&format!("http://localhost:{}", net.port)).unwrap();
        let answer = net.get(path).await;
        assert_eq!((answer.status, answer.header("location").as_deref()), (302, Some(long)));
    });
}

#[test]
fn people_log_in_and_a_cookie_says_who_they_are() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let json = [("Content-Type", "application/json")];
        let ada = br#"{"username": "ada", "password": "correct horse", "first_name": "Ada"}"#;
        let registered = ask(net.port, "POST", "/api/register", &json, ada).await;
        assert_eq!(registered.status, 200, "{}", registered.body);
        ask(net.port, "POST", "/api/register", &json, ada).await.refused(409, "taken");
        let right = br#"{"username": "ada", "password": "correct horse"}"#;
        let cookie = ask(net.port, "POST", "/api/login", &json, right).await.cookie();
        let session = [json[0], ("Cookie", &*cookie)];
        let me = ask(net.port, "GET", "/api/me", &session, b"").await;
        assert_eq!(me.json()["username"], "ada");
        // A wrong password and an unknown name get the same answer.
        let wrong =
            ask(net.port, "POST", "/api/login", &json, br#"{"username": "ada", "password": "x"}"#).await;
        let unknown =
            ask(net.port, "POST", "/api/login", &json, br#"{"username": "eve", "password": "x"}"#).await;
        assert_eq!((wrong.status, unknown.status), (401, 401));
        assert_eq!(wrong.body, unknown.body);

        net.register(7).await;
        let follow = br#"{"username": "username_7"}"#;
        assert_eq!(ask(net.port, "POST", "/api/follow", &session, follow).await.status, 200);
        net.posted(7, "hello").await;
        assert_eq!(texts(&ask(net.port, "GET", "/api/home", &session, b"").await), ["hello"]);
        assert_eq!(texts(&net.get("/api/user/username_7").await), ["hello"]);
        let picture = b"\x89PNG\r\n\x1a\nnot really";
        let kept = ask(net.port, "POST", "/api/media", &session, picture).await.json();
        let post = serde_json::json!({ "text": "look", "media": [kept] }).to_string();
        assert_eq!(ask(net.port, "POST", "/api/post", &session, post.as_bytes()).await.status, 200);
        let seen = net.get("/api/user/ada").await.posts().remove(0);
        let id = seen["media"][0]["media_id"].as_str().unwrap().to_owned();
        let answer = net.get(&format!("/media/{id}")).await;
        assert_eq!((answer.status, answer.header("content-type").as_deref()), (200, Some("image/png")));

        // Without a login, from another site, with a changed cookie: no.
        ask(net.port, "GET", "/api/home", &json, b"").await.refused(401, "log in");
        let elsewhere = [session[0], session[1], ("Origin", "http://evil.example")];
        ask(net.port, "POST", "/api/post", &elsewhere, post.as_bytes()).await.refused(400, "another site");
        let forged = cookie.replace("ada", "eve");
        ask(net.port, "GET", "/api/me", &[("Cookie", &*forged)], b"").await.refused(401, "log in");
        // A login outlives the front end.
        let (_, process) = net.proc("front").await;
        sigma_test::host::kill(process);
        let me = sigma_test::eventually("the front end is back", async || {
            let again = ask(net.port, "GET", "/api/me", &session, b"").await;
            (again.status == 200).then_some(again)
        });
        assert_eq!(me.await.json()["username"], "ada");
        let out = ask(net.port, "POST", "/api/logout", &session, b"").await;
        assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    });
}

#[test]
fn it_starts_and_ends_as_a_whole_and_says_what_keeps_it_from_starting() {
    story(async |machine| {
        let port = free_port();
        let tenant = realm(machine, port).await;
        // The operator has not granted this port.
        let other = free_port();
        let pid = tenant.spawn(&format!("socialnet up --port {other}")).await;
        let status = tenant.wait_exit(pid).await;
        assert!(!status.is_ok());
        let said = tenant.stderr(pid).await;
        assert!(said.contains("the service front") && said.contains("publish.ports="), "{said}");
        // What was started before has ended again.
        assert_eq!(tenant.sigma.procs(false).await.unwrap().len(), 0);

        let net = Net { tenant, port };
        net.run(&format!("socialnet up --port {port} --password-cost cheap --shards 1")).await;
        assert_eq!(net.tenant.sigma.procs(false).await.unwrap().len(), 11);
        let pid = net.tenant.spawn(&format!("socialnet up --port {port}")).await;
        assert!(!net.tenant.wait_exit(pid).await.is_ok());
        assert!(net.tenant.stderr(pid).await.contains("runs already"));
        net.register(1).await;
        net.posted(1, "kept").await;
        assert!(net.run("socialnet down").await.starts_with("11 procs"));
        assert_eq!(net.tenant.sigma.procs(false).await.unwrap().len(), 0);
        // What was posted is there when it starts again.
        net.run(&format!("socialnet up --port {port} --password-cost cheap")).await;
        assert_eq!(net.wrote(1).await, ["kept"]);
        let names = net.tenant.sigma.read_dir("/sn").await.unwrap();
        assert_eq!(names.len(), 11, "ten services and the cache");
    });
}

#[test]
fn a_seed_makes_users_who_follow_each_other() {
    story(async |machine| {
        let net = Net::start(machine).await;
        let said = net.run("socialnet seed --users 60 --degree 7").await;
        assert!(said.starts_with("60 users, "), "{said}");
        // Again: they are there.
        assert_eq!(net.run("socialnet seed --users 60 --degree 7").await, said);
        net.tenant.sigma.put_file("/g.nodes", "3\n").await.unwrap();
        net.tenant.sigma.put_file("/g.edges", "100 101\n").await.unwrap();
        let pid = net.tenant.spawn("socialnet seed --graph /g").await;
        assert!(!net.tenant.wait_exit(pid).await.is_ok());
        assert!(net.tenant.stderr(pid).await.contains("line 1"));
        net.tenant.sigma.put_file("/g.nodes", "200\n").await.unwrap();
        assert_eq!(net.run("socialnet seed --graph /g").await, "200 users, 2 follows\n");
        net.posted(100, "hello").await;
        assert_eq!(net.sees(101).await, ["hello"]);
        assert_eq!(net.sees(102).await, [""; 0]);
        net.posted(0, "from who has most friends").await;
        let login = [("username", "username_3"), ("password", "password_3")];
        assert_eq!(net.form("/login", &login).await.status, 303);
    });
}
