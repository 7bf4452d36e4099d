//! nginx, as docs/senders/nginx.md has it send.

use std::process::Command;

use super::{Receiver, Sender, find, host};
use crate::util::free_port;

#[test]
fn nginx_logs_every_request() {
    let Some(program) = find("nginx", "nginx-light") else { return };
    for scheme in ["udp", "unix"] {
        let receiver = Receiver::start(scheme, "");
        let address = match scheme {
            "unix" => format!("unix:{}", receiver.address("unix")),
            _ => receiver.address(scheme),
        };
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // One process, so that ending it ends all.
        let config = format!(
            "daemon off;\nmaster_process off;\npid {{dir}}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
             access_log syslog:server={address},facility=local7,tag=nginx,severity=info;\n\
             client_body_temp_path {{dir}}/body;\nproxy_temp_path {{dir}}/proxy;\n\
             fastcgi_temp_path {{dir}}/fastcgi;\nuwsgi_temp_path {{dir}}/uwsgi;\n\
             scgi_temp_path {{dir}}/scgi;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}\n}}\n"
        );
        let config = config.replace("{dir}", &dir.path().display().to_string());
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut nginx = Sender::start(
            Command::new(&program).args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file),
        );
        for number in 0..50 {
            assert_eq!(nginx.ask(port, number), "HTTP/1.1 204 No Content");
            receiver.wait_in(number + 1);
        }
        // It writes its host in small letters.
        let head = format!("local7.info {} nginx - - 127.0.0.1 - - [", host().to_lowercase());
        for (number, message) in receiver.messages(50).iter().enumerate() {
            let parts = message.parts();
            let tail = format!("] \"GET /a?n={number} HTTP/1.1\" 204 0 \"-\" \"agent {number}\"");
            assert!(parts.starts_with(&head) && parts.ends_with(&tail), "{parts}");
            assert!(receiver.is_recent(message), "{}", message.json);
        }
    }
}
