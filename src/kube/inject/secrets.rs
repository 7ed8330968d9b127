//! The files that a configuration names: keys, tokens, URLs with a password in them, certificates. The sidecar's root is
//! read-only and holds none of them, so they are on a volume of the pod, which is mounted into the sidecar alone.

use std::path::{Component, Path};

use serde_json::Value;

use super::configuration::Files;
use super::records::Folder;
use super::sidecar::{FOLDER, SECRETS, USER};
use super::{Reason, Refused, Wish, volumes};
use crate::config::check::{IN_CLEAR, NamedFile};
use crate::kube::annotations::Configuration as Given;
use crate::kube::pod;
use crate::kube::workload::Maker;

const ANNOTATION: &str = "outboard.dev/secret-volume";

/// What holds secrets and is whole before any container starts: nobody in the pod has to fill it first.
const KINDS: [&str; 3] = ["secret", "projected", "csi"];

/// The mode of files whose volume says none.
const MODE: u64 = 0o644;

/// In the image: who signed the certificates of the web.
const IMAGE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Holds the files that the configuration names against what is mounted. What it names is none where it was not read.
pub(super) fn arrange(
    spec: &Value,
    wish: &Wish,
    maker: &Maker,
    files: Option<&Files>,
    data: Option<&Folder>,
    warnings: &mut Vec<String>,
) -> Result<(), Refused> {
    let volume = wish.secret_volume.as_deref();
    if let Some(name) = volume {
        usable(spec, maker, name)?;
        let others = pod::containers(spec).filter(|container| {
            pod::list(container, "volumeMounts").iter().any(|mount| pod::text(mount, "name") == Some(name))
        });
        let others: Vec<&str> = others.filter_map(|container| pod::text(container, "name")).collect();
        if !others.is_empty() {
            warnings.push(format!(
                "volume {name} is mounted into {} too, where the sidecar's secrets can be read; {ANNOTATION} is for one of \
                 the sidecar's own",
                others.join(", ")
            ));
        }
    }
    let Some(files) = files else { return Ok(()) };
    mounted(wish, files, data, warnings)?;
    if let Some(name) = volume
        && !files.named.iter().any(|named| is_below(&named.file, SECRETS))
    {
        warnings.push(format!(
            "{}: no setting names a file in {SECRETS}, where {ANNOTATION} {name} is mounted; write such as stores: {{ \
             encryption_keys: [{{ id: k1, file: {SECRETS}/k1 }}] }}",
            files.place
        ));
    }
    for warning in warnings.iter_mut().filter(|warning| warning.ends_with(IN_CLEAR)) {
        warning.push_str(&format!("; write file: {SECRETS}/k1"));
        if volume.is_none() {
            warning.push_str(&format!(", and its volume into {ANNOTATION}"));
        }
    }
    Ok(())
}

/// Whether each file is on a volume that the sidecar has. A secret that is on none stops it before it is started; what is
/// public may be in an image of one's own.
fn mounted(wish: &Wish, files: &Files, data: Option<&Folder>, warnings: &mut Vec<String>) -> Result<(), Refused> {
    let there = |file: &Path| {
        // The ConfigMap is mounted whole, and nothing in it is in a folder.
        let beside = matches!(wish.config, Given::ConfigMap(_)) && file.parent() == Some(Path::new(FOLDER));
        // An empty volume holds nothing when the sidecar starts.
        let kept = data.is_some_and(|data| data.volume.is_some() && is_below(file, &data.path));
        let secret = wish.secret_volume.is_some() && is_below(file, SECRETS);
        is_plain(file) && (beside || kept || secret || file == Path::new(IMAGE))
    };
    let missing: Vec<&NamedFile> = files.named.iter().filter(|named| !there(&named.file)).collect();
    let told = |secret: bool| -> Option<String> {
        let of = missing.iter().filter(|named| named.secret == secret);
        let all: Vec<String> = of.map(|named| format!("{} {}", named.setting, named.file.display())).collect();
        (!all.is_empty()).then(|| all.join(", "))
    };
    let advice = match &wish.secret_volume {
        Some(name) => format!("; {ANNOTATION} {name} is mounted at {SECRETS}: write {SECRETS}/NAME"),
        None => format!(
            "; write {SECRETS}/NAME, and the name of a secret, projected or csi volume of the pod into {ANNOTATION}, which \
             mounts it there"
        ),
    };
    if let Some(told) = told(true) {
        let message = format!("{}: no volume of the sidecar's has {told}{advice}", files.place);
        return Err(Refused::new(Reason::Configuration, message));
    }
    if let Some(told) = told(false) {
        warnings
            .push(format!("{}: unless the image has it, no volume of the sidecar's has {told}{advice}", files.place));
    }
    Ok(())
}

/// Whether a file is below a folder, and not by way of another one.
fn is_below(file: &Path, folder: &str) -> bool {
    is_plain(file) && file.starts_with(folder) && file != Path::new(folder)
}

fn is_plain(file: &Path) -> bool {
    file.is_absolute() && file.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}

/// Whether a volume can hold secrets, and the sidecar's user can read them.
fn usable(spec: &Value, maker: &Maker, name: &str) -> Result<(), Refused> {
    let refused = |message: String| Err(Refused::new(Reason::Annotation, format!("{ANNOTATION}: {message}")));
    let volume = volumes::named(spec, maker, ANNOTATION, name)?;
    let Some(volume) = volume.filter(|volume| KINDS.iter().any(|kind| volume.get(kind).is_some())) else {
        return refused(format!("volume {name} is no secret, projected or csi volume; name one that is"));
    };
    // With a group the kubelet gives it the files and lets it read them, whatever their mode.
    let grouped = spec.pointer("/securityContext/fsGroup").is_some_and(|group| !group.is_null());
    if let Some((place, mode)) = unreadable(volume).filter(|_| !grouped) {
        return refused(format!(
            "the files of volume {name} are root's, and with {place} {mode:04o} user {USER} cannot read them; leave it out: \
             the default, 0644, opens them to nobody but the sidecar, which alone has the volume"
        ));
    }
    Ok(())
}

/// A mode that lets only root and its group read a file, and where it stands.
fn unreadable(volume: &Value) -> Option<(String, u64)> {
    let mut modes = Vec::new();
    if let Some(secret) = volume.get("secret") {
        of_source(secret, secret, "secret".into(), "secret", &mut modes);
    }
    if let Some(projected) = volume.get("projected") {
        for (index, source) in pod::list(projected, "sources").iter().enumerate() {
            // The kubelet chooses the mode of a token itself.
            for (kind, source) in
                source.as_object().into_iter().flatten().filter(|(kind, _)| *kind != "serviceAccountToken")
            {
                let place = format!("projected.sources[{index}].{kind}");
                of_source(source, projected, place, "projected", &mut modes);
            }
        }
    }
    modes.into_iter().find(|(_, mode)| mode & 0o004 == 0)
}

/// The modes of a source's files: its own for each item, else the volume's, which stands in `default`.
fn of_source(source: &Value, default: &Value, place: String, volume: &str, modes: &mut Vec<(String, u64)>) {
    let mode = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64);
    let default = (format!("{volume}.defaultMode"), mode(default, "defaultMode").unwrap_or(MODE));
    let items = pod::list(source, "items");
    if items.is_empty() {
        return modes.push(default);
    }
    modes.extend(items.iter().enumerate().map(|(index, item)| match mode(item, "mode") {
        Some(own) => (format!("{place}.items[{index}].mode"), own),
        None => default.clone(),
    }));
}

#[cfg(test)]
mod tests;
