//! Whose output a file is: by its path (Kubernetes), or by its path and the file that Docker keeps
//! beside it. No runtime and no Kubernetes API is asked: they may have forgotten a container whose
//! lines are not read yet.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

/// The longest file of Docker's that is read.
const CONFIG_MAX: u64 = 1024 * 1024;
/// Labels of a container that are named.
const LABELS_MAX: usize = 64;

/// What is known of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name; what becomes the app.
    pub name: String,
    /// What else is known, by name.
    pub fields: Vec<(&'static str, String)>,
    /// Its labels, in their order.
    pub labels: Vec<(String, String)>,
}

impl Container {
    /// The container whose output is in the file at this path.
    pub fn of(path: &Path) -> Self {
        let folder = path.parent();
        let name = |path: Option<&Path>| {
            path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
        };
        let (file, above) = (name(Some(path)).unwrap_or_default(), name(folder));
        if file.contains("-json.log") {
            let id = above.unwrap_or_default();
            let config = folder.and_then(|folder| read_config(&folder.join("config.v2.json")));
            return Self::docker(id, config.as_ref());
        }
        let pod = name(folder.and_then(Path::parent));
        Self::pod(&pod.unwrap_or_default(), above.unwrap_or_default(), &file)
    }

    /// `NAMESPACE_POD_UID/CONTAINER/RESTART.log`.
    fn pod(pod: &str, container: String, file: &str) -> Self {
        let mut fields = Vec::new();
        let mut parts = pod.splitn(3, '_');
        if let (Some(namespace), Some(pod), Some(uid)) = (parts.next(), parts.next(), parts.next())
        {
            let known = [("namespace", namespace), ("pod", pod), ("uid", uid)];
            fields.extend(known.map(|(name, value)| (name, value.to_string())));
        }
        fields.push(("container", container.clone()));
        let restart: String = file.chars().take_while(char::is_ascii_digit).collect();
        if !restart.is_empty() {
            fields.push(("restart", restart));
        }
        Self { name: container, fields, labels: Vec::new() }
    }

    fn docker(id: String, config: Option<&Value>) -> Self {
        let text = |pointer: &str| config?.pointer(pointer)?.as_str().map(str::to_string);
        let short: String = id.chars().take(12).collect();
        let name = text("/Name").map_or(short, |name| name.trim_start_matches('/').to_string());
        let mut fields = vec![("container", name.clone()), ("id", id)];
        fields.extend(text("/Config/Image").map(|image| ("image", image)));
        let labels = config.and_then(|config| config.pointer("/Config/Labels")?.as_object());
        let labels = labels
            .into_iter()
            .flatten()
            .take(LABELS_MAX)
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string())));
        Self { name, fields, labels: labels.collect() }
    }
}

fn read_config(path: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(CONFIG_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_path_says_whose_file_it_is() {
        let path = Path::new("/var/log/pods/shop_web-1_0a-b/nginx/2.log");
        let container = Container::of(path);
        assert_eq!(container.name, "nginx");
        let fields: Vec<_> =
            container.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let want = [
            ("namespace", "shop"),
            ("pod", "web-1"),
            ("uid", "0a-b"),
            ("container", "nginx"),
            ("restart", "2"),
        ];
        assert_eq!(fields, want);
        assert_eq!(Container::of(Path::new("/x/odd/c/a.log")).fields, [("container", "c".into())]);
    }

    #[test]
    fn dockers_own_file_has_name_image_and_labels() {
        let folder = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef";
        let own = folder.path().join(id);
        std::fs::create_dir(&own).unwrap();
        let log = own.join(format!("{id}-json.log"));
        assert_eq!(Container::of(&log).name, "0123456789ab");
        let config = r#"{"Name":"/web","Config":{"Image":"nginx:1","Labels":{"a.b":"c","n":1}}}"#;
        std::fs::write(own.join("config.v2.json"), config).unwrap();
        let container = Container::of(&log);
        assert_eq!(container.name, "web");
        assert_eq!(container.fields[2], ("image", "nginx:1".to_string()));
        assert_eq!(container.labels, [("a.b".to_string(), "c".to_string())]);
        std::fs::write(own.join("config.v2.json"), "{").unwrap();
        assert_eq!(Container::of(&log).name, "0123456789ab");
    }
}
