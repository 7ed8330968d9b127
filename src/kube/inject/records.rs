//! Idempotency records that the sidecar has to itself (`store: local`): whether a retry will find them, and the folder that
//! they stand in.

use std::path::{Component, Path};

use serde_json::Value;

use super::configuration::Records;
use super::sidecar::{OWN, USER};
use super::{Reason, Refused, Wish, volumes};
use crate::config::check::LOCAL_RECORDS;
use crate::kube::annotations::Configuration as Given;
use crate::kube::workload::Maker;

/// The folder that the sidecar may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Where the volume is mounted: at the folder in which `stores.data_dir` is. That one the sidecar makes itself, with the
    /// mode 0700; a volume's own folder is root's, and open to more than one user.
    pub(super) path: String,
    /// The pod's volume that is mounted there; none: an empty one, which outlives the container and ends with the pod.
    pub(super) volume: Option<String>,
}

/// What to write where one replica is all there is.
const ANNOTATION: &str = "outboard.dev/idempotency-local: i-run-one-replica";
const VOLUME: &str = "outboard.dev/data-volume";

/// With the other policy, which is the default, the kubelet opens whatever is in a volume to the group whenever the volume is
/// mounted: the sidecar would find its folder open when the pod's next one starts, and not use it.
const POLICY: &str = "OnRootMismatch";

/// Finds what is to be mounted, if anything is. What the configuration says is none where it was not read.
pub(super) fn arrange(
    spec: &Value,
    wish: &Wish,
    maker: &Maker,
    records: Option<&Records>,
    warnings: &mut Vec<String>,
) -> Result<Option<Folder>, Refused> {
    let Some(records) = records else { return unread(wish, warnings).map(|()| None) };
    let volume = wish.data_volume.as_deref();
    let claimed = volume.map(|name| is_claim(spec, maker, name)).transpose()?.unwrap_or(false);
    let path = records.data_dir.as_deref().map(|folder| mountable(folder, &records.place)).transpose()?;
    if let (Some(volume), None) = (volume, &path) {
        return Err(Refused::new(
            Reason::Configuration,
            format!(
                "{}: there is no stores.data_dir, for which {VOLUME} {volume} is; write stores: {{ data_dir: \
                 /var/lib/outboard }}",
                records.place
            ),
        ));
    }
    if let Some(route) = &records.local {
        if !wish.one_replica {
            found_again(maker, claimed, route, records)?;
            // What the configuration's own check warns of cannot be seen there, and has been here.
            warnings.retain(|warning| !warning.ends_with(LOCAL_RECORDS));
        } else if maker.several {
            warnings.push(format!(
                "{ANNOTATION} is not so: there are several, and a retry that reaches another one is a second charge"
            ));
        }
    }
    match volume {
        None if path.is_some() && records.local.is_some() => warnings.push(
            "stores.data_dir is on an emptyDir: the records outlive the sidecar's container, and end with the pod"
                .into(),
        ),
        Some(volume) if claimed => writable(spec, volume, warnings)?,
        _ => {}
    }
    Ok(path.map(|path| Folder { path, volume: volume.map(str::to_owned) }))
}

/// A ConfigMap that is not at hand: nothing is known of its records.
fn unread(wish: &Wish, warnings: &mut Vec<String>) -> Result<(), Refused> {
    let Given::ConfigMap(name) = &wish.config else { return Ok(()) };
    if wish.data_volume.is_some() {
        return Err(Refused::new(
            Reason::Configuration,
            format!(
                "{VOLUME}: where stores.data_dir is stands in ConfigMap {name}, which was not read; give it to outboard \
                 inject together with this, and the label outboard.dev/config: \"true\", so that the webhook reads it"
            ),
        ));
    }
    warnings.push(format!(
        "ConfigMap {name} was not read: whether a retry finds its idempotency records (store: local), and whether the files \
         that it names are mounted, was not checked, and nothing is mounted for its stores.data_dir"
    ));
    Ok(())
}

/// Whether a retry finds the records: all tries reach one pod, and the next pod has the folder of the last.
fn found_again(maker: &Maker, claimed: bool, route: &str, records: &Records) -> Result<(), Refused> {
    let kind = maker.kind.as_deref().unwrap_or("Pod");
    let (why, first) = if !maker.keeps_claims() {
        (format!("a {kind} makes pods beside each other and in each other's place, each with records of its own"), "")
    } else if maker.several {
        (format!("this {kind} has several pods, each with records of its own"), "")
    } else if claimed {
        return Ok(());
    } else {
        let first = match &records.data_dir {
            Some(_) => "write the name of a volumeClaimTemplate or of a persistentVolumeClaim volume into ",
            None => "write stores.data_dir, and the name of a claim for it into ",
        };
        (format!("stores.data_dir is on no claim, so that the records of this {kind} end with its pod"), first)
    };
    let first = if first.is_empty() { "write ".to_owned() } else { format!("{first}{VOLUME}; or ") };
    Err(Refused::new(
        Reason::LocalRecords,
        format!(
            "{}: route {route}: {LOCAL_RECORDS}. Here {why}: {first}store: redis with stores.redis; or, where one replica is \
             all that ever runs and its records may end with it, the annotation {ANNOTATION}",
            records.place,
        ),
    ))
}

/// Whether a volume is a claim, which outlives the pod. It has to be there, and to be one that can be written to.
fn is_claim(spec: &Value, maker: &Maker, name: &str) -> Result<bool, Refused> {
    let Some(volume) = volumes::named(spec, maker, VOLUME, name)? else { return Ok(true) };
    let read_only = ["configMap", "secret", "projected", "downwardAPI"].iter().any(|kind| volume.get(kind).is_some());
    if read_only || volume.pointer("/persistentVolumeClaim/readOnly").and_then(Value::as_bool) == Some(true) {
        return Err(Refused::new(
            Reason::Annotation,
            format!("{VOLUME}: nobody can write to volume {name}; name one that is a persistentVolumeClaim"),
        ));
    }
    Ok(volume.get("persistentVolumeClaim").is_some())
}

/// Whether the sidecar's user may make its folder on a claim, and finds it as it was when the claim is mounted again.
fn writable(spec: &Value, volume: &str, warnings: &mut Vec<String>) -> Result<(), Refused> {
    let said = |key: &str| spec.pointer("/securityContext").and_then(|context| context.get(key));
    let advice = format!("securityContext: {{ fsGroup: {USER}, fsGroupChangePolicy: {POLICY} }}");
    match (said("fsGroup"), said("fsGroupChangePolicy").and_then(Value::as_str)) {
        // A new claim's folder is root's, as most that provide them make it.
        (None, _) => warnings.push(format!(
            "volume {volume} is written by user {USER}: unless its folder is open to all, write {advice} into the pod's spec"
        )),
        (Some(_), Some(POLICY)) => {}
        (Some(_), _) => {
            return Err(Refused::new(
                Reason::Configuration,
                format!(
                    "{VOLUME}: with fsGroup the kubelet opens the sidecar's folder on volume {volume} to the group whenever it \
                     mounts it, and the sidecar uses no folder that others can read; write fsGroupChangePolicy: {POLICY} into \
                     the pod's securityContext"
                ),
            ));
        }
    }
    Ok(())
}

/// The folder around `stores.data_dir` as a mountPath, which has to be apart from what the sidecar has there itself.
fn mountable(folder: &Path, place: &str) -> Result<String, Refused> {
    let refused = |what: &str| {
        Err(Refused::new(
            Reason::Configuration,
            format!(
                "{place}: stores.data_dir is {}, {what}; write a folder such as /var/lib/outboard",
                folder.display()
            ),
        ))
    };
    let plain = |c: Component<'_>| matches!(c, Component::RootDir | Component::Normal(_));
    let Some(around) = folder.parent().filter(|_| folder.is_absolute() && folder.components().all(plain)) else {
        return refused("where no volume can be mounted");
    };
    if OWN.iter().any(|own| folder.starts_with(own) || Path::new(own).starts_with(around)) {
        return refused("and a volume at the folder above would hide what is the sidecar's own");
    }
    match around.to_str() {
        Some(path) if !path.contains(':') => Ok(path.to_owned()),
        _ => refused("where no volume can be mounted"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_folder_is_mounted_where_nothing_of_the_sidecars_is() {
        let mounted = |path: &str| mountable(Path::new(path), "outboard.yaml");
        for (good, at) in [
            ("/var/lib/outboard", "/var/lib"),
            ("/data/records", "/data"),
            ("/outboard-data/a/", "/outboard-data"),
            ("/run/outboards/a", "/run/outboards"),
            ("/a:b/c/d", ""),
            ("/a/b:c", "/a"),
        ] {
            assert_eq!(mounted(good).unwrap_or_default(), at, "{good}");
        }
        for bad in
            ["/data", "/etc/records", "/etc/outboard/a", "/run/a", "/run/outboard/a", "/outboard/a", "/var/run/a"]
        {
            assert!(mounted(bad).unwrap_err().message.contains("would hide what is the sidecar's own"), "{bad}");
        }
        for bad in ["", "/", "data", "./data", "/data/../etc/a"] {
            let told = mounted(bad).unwrap_err().message;
            assert!(
                told.contains("where no volume can be mounted; write a folder such as /var/lib/outboard"),
                "{bad}: {told}"
            );
        }
    }

    #[test]
    fn a_claim_is_not_opened_to_the_group_when_it_is_mounted_again() {
        let told = |context: Value| {
            let mut warnings = Vec::new();
            let good = writable(&json!({ "securityContext": context }), "records", &mut warnings);
            (good.is_ok(), warnings.len())
        };
        assert_eq!(told(json!({ "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch" })), (true, 0));
        assert_eq!(told(json!({ "fsGroup": 2000 })), (false, 0));
        assert_eq!(told(json!({ "fsGroup": 2000, "fsGroupChangePolicy": "Always" })), (false, 0));
        assert_eq!(told(json!({})), (true, 1));
        assert_eq!(told(json!(null)), (true, 1));
    }

    #[test]
    fn a_volume_is_there_and_can_be_written_to() {
        let spec = json!({ "volumes": [
            { "name": "claim", "persistentVolumeClaim": { "claimName": "c" } },
            { "name": "read", "persistentVolumeClaim": { "claimName": "c", "readOnly": true } },
            { "name": "host", "hostPath": { "path": "/srv" } },
            { "name": "map", "configMap": { "name": "m" } },
        ] });
        let maker = Maker { claims: vec!["template".into()], ..Maker::default() };
        let claim = |name: &str| is_claim(&spec, &maker, name).map_err(|refused| refused.message);
        assert_eq!((claim("claim"), claim("template"), claim("host")), (Ok(true), Ok(true), Ok(false)));
        for name in ["read", "map"] {
            assert!(claim(name).unwrap_err().contains(&format!("nobody can write to volume {name}")));
        }
        assert_eq!(
            claim("other").unwrap_err(),
            "outboard.dev/data-volume: there is no volume other; there is claim, read, host, map, template"
        );
    }
}
