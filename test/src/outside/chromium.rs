//! A real browser without a window, driven over its DevTools protocol by pipes.
//! <https://chromedevtools.github.io/devtools-protocol/>

use super::find;
use crate::within;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// The browser. It ends with this.
pub struct Chromium {
    _child: Child,
    _profile: TempDir,
    commands: ChildStdin,
    said: BufReader<ChildStdout>,
    events: VecDeque<Value>,
    last: u64,
}

/// One of its pages, with cookies of its own.
#[derive(Clone, Debug)]
pub struct Tab {
    session: String,
}

impl Chromium {
    /// Starts it; none where there is none, and the story is skipped.
    pub async fn start() -> Option<Self> {
        let program = find("SIGMA_TEST_CHROMIUM")?;
        let profile = tempfile::tempdir().expect("a temporary folder");
        let flags = [
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // It refuses its sandbox to root, who runs the stories.
            "--no-sandbox",
        ];
        // It speaks on the descriptors 3 and 4, which a shell makes of its own input and output.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh"]).arg(program).args(flags);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("the browser starts");
        let (commands, said) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        Some(Self { _child: child, _profile: profile, commands, said, events: VecDeque::new(), last: 0 })
    }

    /// A page of so many pixels that knows no cookies yet.
    pub async fn tab(&mut self, width: u32, height: u32) -> Tab {
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        let target = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        let target = self.call(None, "Target.createTarget", target).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", attach).await;
        let tab = Tab { session: attached["sessionId"].as_str().expect("a session").to_owned() };
        self.call(Some(&tab), "Page.enable", json!({})).await;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call(Some(&tab), "Emulation.setDeviceMetricsOverride", size).await;
        tab
    }

    /// Goes to an address, and waits until the page has loaded.
    pub async fn go(&mut self, tab: &Tab, address: &str) {
        self.events.clear();
        let gone = self.call(Some(tab), "Page.navigate", json!({ "url": address })).await;
        assert_eq!(gone.get("errorText"), None, "{address}");
        self.loaded(tab).await;
    }

    /// The value of an expression in the page.
    pub async fn evaluate(&mut self, tab: &Tab, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let mut done = self.call(Some(tab), "Runtime.evaluate", parameters).await;
        assert_eq!(done.get("exceptionDetails"), None, "{expression}");
        done["result"]["value"].take()
    }

    /// Fills fields of a form, sends it as a person does, and waits for the page that follows.
    pub async fn submit(&mut self, tab: &Tab, form: &str, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            let fill = format!("document.querySelector('{form} [name={name}]').value = {}", json!(value));
            self.evaluate(tab, &fill).await;
        }
        self.events.clear();
        self.evaluate(tab, &format!("document.querySelector('{form} button').click()")).await;
        self.loaded(tab).await;
    }

    /// Chooses a file of this host in a field.
    pub async fn choose(&mut self, tab: &Tab, field: &str, file: &std::path::Path) {
        let root = self.call(Some(tab), "DOM.getDocument", json!({})).await;
        let wanted = json!({ "nodeId": root["root"]["nodeId"], "selector": field });
        let node = self.call(Some(tab), "DOM.querySelector", wanted).await;
        let files = json!({ "nodeId": node["nodeId"], "files": [file.display().to_string()] });
        self.call(Some(tab), "DOM.setFileInputFiles", files).await;
    }

    /// All text of the page.
    pub async fn text(&mut self, tab: &Tab) -> String {
        let text = self.evaluate(tab, "document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What the page looks like: a PNG in base 64.
    pub async fn screenshot(&mut self, tab: &Tab) -> String {
        let mut shot = self.call(Some(tab), "Page.captureScreenshot", json!({ "format": "png" })).await;
        let Value::String(png) = shot["data"].take() else { panic!("no picture") };
        png
    }

    async fn loaded(&mut self, tab: &Tab) {
        let is =
            |event: &Value| event["method"] == "Page.loadEventFired" && event["sessionId"] == *tab.session;
        while !self.events.iter().any(is) {
            let event = self.next().await;
            self.events.push_back(event);
        }
        self.events.clear();
    }

    async fn call(&mut self, tab: Option<&Tab>, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(tab) = tab {
            command["sessionId"] = json!(tab.session);
        }
        let text = format!("{command}\0");
        self.commands.write_all(text.as_bytes()).await.expect("the browser listens");
        loop {
            let mut said = self.next().await;
            if said["id"] == self.last {
                assert_eq!(said.get("error"), None, "{method}");
                return said["result"].take();
            }
            self.events.push_back(said);
        }
    }

    async fn next(&mut self) -> Value {
        let mut text = Vec::new();
        let read =
            within("the browser", self.said.read_until(0, &mut text)).await.expect("the browser speaks");
        assert!(read > 0, "the browser has gone");
        text.pop();
        serde_json::from_slice(&text).expect("the browser speaks JSON")
    }
}
