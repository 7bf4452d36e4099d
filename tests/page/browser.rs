//! A headless Chromium, by its DevTools protocol: over two FIFOs that are its descriptors 3 and 4,
//! each message ended by a NUL.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::util::{skip_missing, wait_for};

pub struct Browser {
    /// Its profile, and the FIFOs.
    _dir: tempfile::TempDir,
    child: Child,
    to: File,
    from: BufReader<File>,
    next: u64,
    session: Option<String>,
    /// What it complained of: errors of the script, refusals of the policy, and requests that
    /// failed.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts one with an empty page; `None` if there is none here, which is said.
    pub fn start() -> Option<Self> {
        if Command::new("chromium").arg("--version").output().is_err() {
            skip_missing("chromium (Debian's chromium)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["to", "from"] {
            nix::unistd::mkfifo(&dir.path().join(name), Mode::S_IRWXU).unwrap();
        }
        let child = Command::new("sh")
            .args([
                "-c",
                "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                 --remote-debugging-pipe --user-data-dir=profile about:blank 3<to 4>from",
            ])
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = OpenOptions::new().write(true).open(dir.path().join("to")).unwrap();
        let from = BufReader::new(File::open(dir.path().join("from")).unwrap());
        let (next, session, complaints) = (0, None, Vec::new());
        let mut browser = Self { _dir: dir, child, to, from, next, session, complaints };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &target);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_string());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Opens a page.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
    }

    /// The value of an expression of the page's script.
    pub fn ask(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Asks until the value is as it should be.
    pub fn wait(&mut self, what: &str, expression: &str, done: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || Some(self.ask(expression)).filter(&done))
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({ "type": kind, "key": key }));
        }
    }

    /// Gives the page another size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "the browser has ended");
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.next {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            let event = answer["method"].as_str().unwrap_or_default();
            let complains = ["Log.entryAdded", "Runtime.exceptionThrown"].contains(&event);
            if complains {
                self.complaints.push(answer.to_string());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
