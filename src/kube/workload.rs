//! Where in an object the template of its pods stands, and what makes a pod again.

use serde_json::Value;

/// A kind of object that runs pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Where the pod stands, as a JSON pointer; empty: the object is the pod.
    pub pod: &'static str,
    /// Its pods come to an end by themselves.
    pub ends: bool,
}

/// What an object is, if it runs pods.
pub fn of(object: &Value) -> Option<Workload> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let (pod, ends) = match (text("apiVersion")?, text("kind")?) {
        ("v1", "Pod") => ("", false),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => ("/spec/template", false),
        ("v1", "ReplicationController") => ("/spec/template", false),
        ("batch/v1", "Job") => ("/spec/template", true),
        ("batch/v1", "CronJob") => ("/spec/jobTemplate/spec/template", true),
        _ => return None,
    };
    object.pointer(pod)?.is_object().then_some(Workload { pod, ends })
}

/// What makes pods, as far as it decides what outlives one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maker {
    /// Its kind; none: a pod that was made by itself.
    pub kind: Option<String>,
    /// It is known to have several pods at a time.
    pub several: bool,
    /// The claims of which each of its pods gets one, as a volume of the same name.
    pub claims: Vec<String>,
}

/// The kind that ends a pod before it makes another of its name, which gets the same claims.
const STATEFUL_SET: &str = "StatefulSet";

impl Maker {
    /// That of an object that runs pods.
    pub fn of(object: &Value) -> Maker {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == "Pod" {
            return Maker::of_pod(object);
        }
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
        let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten();
        let name = |claim: &Value| claim.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        Maker {
            kind: Some(kind.to_owned()),
            several: replicas.is_some_and(|replicas| replicas > 1),
            claims: claims.filter_map(name).collect(),
        }
    }

    /// That of a pod, which names it as its owner.
    pub fn of_pod(pod: &Value) -> Maker {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let controls = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
        let Some(owner) = owners.iter().find(controls).or(owners.first()) else { return Maker::default() };
        let text = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
        let (kind, version) = (text(owner, "/kind"), text(owner, "/apiVersion"));
        if kind != STATEFUL_SET {
            return Maker { kind: Some(kind), ..Maker::default() };
        }
        // Others have kinds of that name which promise less.
        if version != "apps/v1" {
            return Maker { kind: Some(format!("{kind} of {version}")), ..Maker::default() };
        }
        // How many there are does not stand on the pod; that it is not the first does. Its claims are volumes already.
        let (pod, set) = (text(pod, "/metadata/name"), text(owner, "/name"));
        let number = pod.strip_prefix(&set).and_then(|rest| rest.strip_prefix('-')?.parse::<u32>().ok());
        Maker { kind: Some(kind), several: number != Some(0), claims: Vec::new() }
    }

    /// Whether there is one pod of a name at a time and the next one of the name finds what the last one's claims hold.
    pub fn keeps_claims(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == STATEFUL_SET)
    }
}

/// Whether a text that cannot be read may be one that runs pods, a Service or a ConfigMap.
pub fn may_matter(text: &str) -> bool {
    let kinds = [
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "ReplicationController",
        "Job",
        "CronJob",
        "Service",
        "ConfigMap",
        "List",
    ];
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| kinds.contains(&word))
}

/// Whether an object is a Service.
pub fn is_service(object: &Value) -> bool {
    is(object, "v1", "Service")
}

/// Whether an object is a ConfigMap.
pub fn is_config_map(object: &Value) -> bool {
    is(object, "v1", "ConfigMap")
}

fn is(object: &Value, version: &str, kind: &str) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    text("apiVersion") == Some(version) && text("kind") == Some(kind)
}

/// An object as people call it.
pub fn name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
    let name = object.pointer("/metadata/name").or_else(|| object.pointer("/metadata/generateName"));
    format!("{}/{}", text("/kind"), name.and_then(Value::as_str).unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Its kind, whether there are several, whether what a claim holds is found again.
    fn of_pod(name: &str, owners: Value) -> (Option<String>, bool, bool) {
        let pod = json!({ "kind": "Pod", "metadata": { "name": name, "ownerReferences": owners } });
        let maker = Maker::of_pod(&pod);
        assert_eq!(maker, Maker::of(&pod));
        (maker.kind.clone(), maker.several, maker.keeps_claims())
    }

    #[test]
    fn what_made_a_pod_is_its_controller() {
        let owner = |version: &str, kind: &str, controls: bool| json!({ "apiVersion": version, "kind": kind, "name": "pay", "controller": controls });
        let kind = |kind: &str| Some(kind.to_owned());
        assert_eq!(of_pod("pay", json!([])), (None, false, true));
        assert_eq!(of_pod("pay", json!("x")), (None, false, true));
        assert_eq!(of_pod("pay-7", json!([owner("apps/v1", "ReplicaSet", true)])), (kind("ReplicaSet"), false, false));
        assert_eq!(of_pod("pay-0", json!([owner("apps/v1", "StatefulSet", true)])), (kind("StatefulSet"), false, true));
        assert_eq!(of_pod("pay-1", json!([owner("apps/v1", "StatefulSet", true)])), (kind("StatefulSet"), true, true));
        // Which one it is cannot be told.
        assert_eq!(of_pod("other", json!([owner("apps/v1", "StatefulSet", true)])), (kind("StatefulSet"), true, true));
        let both = json!([owner("example.com/v1", "Payment", false), owner("apps/v1", "StatefulSet", true)]);
        assert_eq!(of_pod("pay-0", both), (kind("StatefulSet"), false, true));
        // Who owns it without controlling it may make it again all the same.
        assert_eq!(of_pod("pay", json!([owner("batch/v1", "Job", false)])), (kind("Job"), false, false));
        let clone = json!([owner("apps.kruise.io/v1beta1", "StatefulSet", true)]);
        assert_eq!(of_pod("pay-0", clone), (kind("StatefulSet of apps.kruise.io/v1beta1"), false, false));
    }

    #[test]
    fn an_object_says_how_many_pods_it_has_and_what_they_claim() {
        let set = json!({ "kind": "StatefulSet", "spec": {
            "volumeClaimTemplates": [{ "metadata": { "name": "records" } }, { "metadata": {} }],
        } });
        let made = Maker { kind: Some("StatefulSet".into()), several: false, claims: vec!["records".into()] };
        assert_eq!(Maker::of(&set), made);
        for (replicas, several) in [(json!(0), false), (json!(1), false), (json!(2), true), (json!(null), false)] {
            let maker = Maker::of(&json!({ "kind": "Deployment", "spec": { "replicas": replicas } }));
            assert_eq!((maker.several, maker.keeps_claims()), (several, false), "{replicas}");
        }
    }
}
