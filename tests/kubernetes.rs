//! What is in k8s/ is what Kubernetes 1.29 knows: every field is one of its fields, and holds what it may hold.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, batch::v1 as batch, core::v1 as core,
    networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s")
}

fn objects(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|object| !object.is_null()).collect()
}

fn read(path: &str) -> Vec<Value> {
    objects(&std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}")))
}

/// Reads an object by its type and writes it again: what is lost on the way is not known.
fn strictly<T: DeserializeOwned + serde::Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|e| e.to_string())?;
    lost(object, &serde_json::to_value(typed).unwrap(), String::new())
}

/// What is empty may be left out.
fn lost(value: &Value, known: &Value, place: String) -> Result<(), String> {
    match (value, known) {
        (Value::Object(map), _) => map.iter().try_for_each(|(key, value)| {
            let place = format!("{place}/{key}");
            let empty = match value {
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                value => value.is_null(),
            };
            match known.get(key) {
                Some(known) => lost(value, known, place),
                None if empty => Ok(()),
                None => Err(format!("{place} is not known")),
            }
        }),
        (Value::Array(list), Value::Array(known)) if list.len() == known.len() => {
            let mut pairs = list.iter().zip(known).enumerate();
            pairs.try_for_each(|(at, (value, known))| lost(value, known, format!("{place}/{at}")))
        }
        (value, known) if value == known => Ok(()),
        (value, known) => Err(format!("{place} is {value}, read as {known}")),
    }
}

fn valid(object: &Value) -> Result<(), String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let check = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => strictly::<core::Pod>,
        ("v1", "Service") => strictly::<core::Service>,
        ("v1", "ConfigMap") => strictly::<core::ConfigMap>,
        ("v1", "Namespace") => strictly::<core::Namespace>,
        ("v1", "ServiceAccount") => strictly::<core::ServiceAccount>,
        ("apps/v1", "Deployment") => strictly::<apps::Deployment>,
        ("apps/v1", "StatefulSet") => strictly::<apps::StatefulSet>,
        ("apps/v1", "DaemonSet") => strictly::<apps::DaemonSet>,
        ("apps/v1", "ReplicaSet") => strictly::<apps::ReplicaSet>,
        ("batch/v1", "Job") => strictly::<batch::Job>,
        ("batch/v1", "CronJob") => strictly::<batch::CronJob>,
        ("policy/v1", "PodDisruptionBudget") => strictly::<policy::PodDisruptionBudget>,
        ("networking.k8s.io/v1", "NetworkPolicy") => strictly::<networking::NetworkPolicy>,
        ("rbac.authorization.k8s.io/v1", "Role") => strictly::<rbac::Role>,
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => strictly::<rbac::RoleBinding>,
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => strictly::<rbac::ClusterRole>,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => strictly::<rbac::ClusterRoleBinding>,
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
            strictly::<admission::MutatingWebhookConfiguration>
        }
        ("v1", "List") => return object["items"].as_array().unwrap().iter().try_for_each(valid),
        // Of others: no types here.
        ("example.com/v1", "PaymentRoute")
        | ("monitoring.coreos.com/v1", "PodMonitor")
        | ("cert-manager.io/v1", "Issuer" | "Certificate") => return Ok(()),
        (version, kind) => return Err(format!("a kind that is not looked at: {version} {kind}")),
    };
    check(object).map_err(|e| format!("{}: {e}", text("kind")))
}

#[test]
fn what_is_not_known_is_found() {
    let pod = |more: &str| {
        objects(&format!("apiVersion: v1\nkind: Pod\nspec: {{ containers: [{{ name: a, {more} }}] }}\n")).remove(0)
    };
    assert_eq!(valid(&pod("image: b")), Ok(()));
    assert_eq!(
        valid(&pod("imagePullPolice: Always")).unwrap_err(),
        "Pod: /spec/containers/0/imagePullPolice is not known"
    );
    assert!(valid(&pod("args: run")).unwrap_err().contains("invalid type"));
}

#[test]
fn what_injection_writes_is_known() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("testdata")).unwrap() {
        let path = entry.unwrap().path();
        // One is there to be passed through unread.
        let name = path.to_string_lossy();
        if name.ends_with(".golden.yaml") && !name.contains("unread") {
            for object in objects(&std::fs::read_to_string(&path).unwrap()) {
                assert_eq!(valid(&object), Ok(()), "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 25, "{seen}");
}

fn spec(object: &Value) -> Option<&Value> {
    ["/spec/jobTemplate/spec/template/spec", "/spec/template/spec", "/spec"]
        .into_iter()
        .find_map(|place| object.pointer(place).filter(|spec| spec.get("containers").is_some()))
}

/// The Pod Security Standard `restricted`: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.
fn restricted(spec: &Value, container: &Value) {
    let pod = &spec["securityContext"];
    let own = &container["securityContext"];
    let said = |key: &str| own.get(key).or_else(|| pod.get(key)).cloned().unwrap_or_default();
    assert_eq!(said("runAsNonRoot"), true);
    assert_ne!(said("runAsUser"), 0);
    assert_eq!(said("seccompProfile")["type"], "RuntimeDefault");
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
    assert_eq!(own["readOnlyRootFilesystem"], true);
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(spec.get(key).is_none());
    }
    let kinds =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let known = |key: &String| key == "name" || kinds.contains(&key.as_str());
        assert!(volume.as_object().unwrap().keys().all(known), "{volume}");
    }
}

#[test]
fn the_sidecar_passes_the_restricted_standard_and_has_no_token() {
    let mut seen = 0;
    let names = [
        "deployment",
        "classic",
        "job",
        "cron_job",
        "pod",
        "every_annotation",
        "config_map",
        "records_with_claim",
        "secrets",
        "secrets_classic",
    ];
    for name in names {
        for object in read(&format!("testdata/{name}.golden.yaml")) {
            let Some(spec) = spec(&object) else { continue };
            let all = ["initContainers", "containers"].into_iter().filter_map(|key| spec.get(key)?.as_array());
            let sidecar = all.flatten().find(|container| container["name"] == "outboard").unwrap();
            restricted(spec, sidecar);
            let token = "/var/run/secrets/kubernetes.io/serviceaccount";
            let mounts = sidecar["volumeMounts"].as_array().unwrap();
            let mount = mounts.iter().find(|mount| mount["mountPath"] == token).unwrap();
            let volumes = spec["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            assert_eq!(volume["emptyDir"], serde_json::json!({}), "an empty folder, where a token would be mounted");
            seen += 1;
        }
    }
    assert_eq!(seen, names.len());
}

/// The resources of a kustomization, and of those that it stands on.
fn kustomized(folder: &str) -> Vec<Value> {
    let kustomization = read(&format!("{folder}/kustomization.yaml")).remove(0);
    let mut all = Vec::new();
    for resource in kustomization["resources"].as_array().unwrap() {
        let resource = resource.as_str().unwrap();
        match resource.strip_prefix("../") {
            Some(other) => {
                all.extend(kustomized(&format!("{}/{other}", folder.rsplit_once('/').map_or(".", |(f, _)| f))))
            }
            None => all.extend(read(&format!("{folder}/{resource}"))),
        }
    }
    for patch in kustomization.get("patches").and_then(Value::as_array).into_iter().flatten() {
        if let Some(path) = patch.get("path").and_then(Value::as_str) {
            let patch = read(&format!("{folder}/{path}")).remove(0);
            let name = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
            assert!(all.iter().any(|object| name(object) == name(&patch)), "{path} patches what is not there");
            assert_eq!(valid(&patch).err().filter(|e| e.contains("not known")), None, "{path}");
        }
    }
    all
}

#[test]
fn the_manifests_are_known() {
    for folder in ["injector", "injector-cert-manager", "monitoring", "sample/plain", "sample/injected"] {
        let all = kustomized(folder);
        assert!(all.len() >= 2, "{folder}");
        for object in all {
            assert_eq!(valid(&object), Ok(()), "{folder}");
        }
    }
}

#[test]
fn the_injector_passes_the_restricted_standard() {
    for object in kustomized("injector").iter().chain(&kustomized("sample/plain")) {
        if let Some(spec) = spec(object) {
            restricted(spec, &spec["containers"][0]);
        }
    }
}

/// The few words of Helm's templates that the chart keeps to.
fn rendered(template: &str, values: &Value) -> String {
    let value = |path: &str| -> String {
        let (path, how) = path.split_once('|').map_or((path, ""), |(path, how)| (path.trim(), how.trim()));
        if path == ".Release.Namespace" {
            return "outboard".into();
        }
        let value = values.pointer(&path.strip_prefix(".Values").unwrap().replace('.', "/"));
        let value = value.unwrap_or_else(|| panic!("{path} is no value of the chart"));
        match (how, value) {
            ("quote" | "toJson", value) => value.to_string(),
            ("", Value::String(text)) => text.clone(),
            ("", value) => value.to_string(),
            (how, _) => panic!("{how} is not known here"),
        }
    };
    let (mut out, mut shows) = (String::new(), vec![true]);
    for line in template.lines() {
        let word = line.trim().strip_prefix("{{- ").and_then(|rest| rest.strip_suffix(" }}"));
        match word {
            Some("else") => *shows.last_mut().unwrap() ^= true,
            Some("end") => drop(shows.pop()),
            Some(word) => {
                let (not, path) =
                    word.strip_prefix("if not ").map_or((false, word.strip_prefix("if ").unwrap()), |p| (true, p));
                shows.push((value(path) == "true") != not);
            }
            None if shows.iter().all(|shown| *shown) => {
                let mut rest = line;
                while let Some((before, behind)) = rest.split_once("{{") {
                    let (path, behind) = behind.split_once("}}").unwrap();
                    out.push_str(before);
                    out.push_str(&value(path.trim()));
                    rest = behind;
                }
                out.push_str(rest);
                out.push('\n');
            }
            None => {}
        }
    }
    assert_eq!(shows.len(), 1);
    out
}

fn chart(values: &Value) -> Vec<Value> {
    let folder = root().join("chart/templates");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| objects(&rendered(&std::fs::read_to_string(file).unwrap(), values))).collect()
}

fn sorted(mut all: Vec<Value>) -> Vec<Value> {
    all.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    all
}

#[test]
fn the_chart_makes_what_the_kustomization_makes() {
    let values = read("chart/values.yaml").remove(0);
    let mut expected = kustomized("injector");
    // Helm makes the namespace itself; kustomize sets the image.
    expected.retain(|object| object["kind"] != "Namespace");
    for object in &mut expected {
        if object["kind"] == "Deployment" {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = "outboard:0.1.0".into();
        }
    }
    assert_eq!(sorted(chart(&values)), sorted(expected));
}

#[test]
fn the_chart_with_cert_manager_is_known_and_needs_no_secret_of_its_own() {
    let mut values = read("chart/values.yaml").remove(0);
    values["certManager"] = true.into();
    let all = chart(&values);
    for object in &all {
        assert_eq!(valid(object), Ok(()));
    }
    assert!(all.iter().all(|object| object["kind"] != "Role"));
    let role = all.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
    assert_eq!(role["rules"].as_array().unwrap().len(), 2, "nothing of its own registration");
    let of = |kind: &str| all.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let annotation = &of("MutatingWebhookConfiguration")["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(annotation, "outboard/outboard-injector");
    let leaf = all.iter().rfind(|object| object["kind"] == "Certificate").unwrap();
    assert_eq!(
        leaf["spec"]["secretName"],
        of("Deployment")["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"]
    );
}

/// What the Deployments run is what the binary understands.
#[test]
fn the_injectors_arguments_are_those_of_the_command() {
    let mut values = read("chart/values.yaml").remove(0);
    for own in [true, false] {
        values["certManager"] = (!own).into();
        let all = chart(&values);
        let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
        let args = args.iter().map(|arg| arg.as_str().unwrap());
        let ran = Command::new(env!("CARGO_BIN_EXE_outboard")).args(args).arg("--help").output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// What the command makes of a manifest.
fn injected(arguments: &[&str], text: &Path) -> String {
    let command = &mut Command::new(env!("CARGO_BIN_EXE_outboard"));
    let ran = command.args(["inject", "--kubernetes", "1.34"]).args(arguments).arg("-f").arg(text).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// In both forms; what was there before is there after.
#[test]
fn a_secret_is_mounted_into_the_sidecar_alone_and_what_is_taken_out_leaves_the_manifest_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for (name, form, volume) in [("secrets", "initContainers", "secrets"), ("secrets_classic", "containers", "vault")] {
        let input = root().join(format!("testdata/{name}.input.yaml"));
        let text = injected(&[], &input);
        let object = objects(&text).pop().unwrap();
        let spec = spec(&object).unwrap();
        let mut mounted = 0;
        for key in ["initContainers", "containers"] {
            for container in spec.get(key).and_then(Value::as_array).into_iter().flatten() {
                let mounts = container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten();
                let mounts: Vec<&Value> = mounts.filter(|mount| mount["name"] == volume).collect();
                let expected = serde_json::json!({ "name": volume, "mountPath": "/secrets", "readOnly": true });
                match (key == form, container["name"] == "outboard") {
                    (true, true) => assert_eq!(mounts, [&expected]),
                    _ => assert!(mounts.is_empty(), "{container}"),
                }
                mounted += mounts.len();
            }
        }
        assert_eq!(mounted, 1, "{name}");
        let file = dir.path().join("injected.yaml");
        std::fs::write(&file, text).unwrap();
        let before = objects(&std::fs::read_to_string(&input).unwrap());
        assert_eq!(objects(&injected(&["--uninject"], &file)), before, "{name}");
    }
}

/// The example of records that replicas share, as a ConfigMap: nothing of it has to be changed, and nothing is to be warned of.
#[test]
fn the_example_with_secrets_can_be_injected_as_it_is() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/exactly-once.yaml");
    let mut map =
        objects("{ apiVersion: v1, kind: ConfigMap, metadata: { name: payments-outboard }, data: {} }").remove(0);
    map["data"]["outboard.yaml"] = std::fs::read_to_string(file).unwrap().into();
    let mut deployment = read("testdata/secrets.input.yaml").pop().unwrap();
    deployment["spec"]["template"]["spec"]["volumes"] =
        serde_json::json!([{ "name": "secrets", "secret": { "secretName": "payments-outboard" } }]);
    let manifest = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(manifest.path(), format!("{map}\n---\n{deployment}\n")).unwrap();
    let command = &mut Command::new(env!("CARGO_BIN_EXE_outboard"));
    let ran = command.args(["inject", "--kubernetes", "1.34", "-f"]).arg(manifest.path()).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success() && !told.contains("in clear") && !told.contains("volume"), "{told}");
}

/// The sample with its annotation, through the command: its Service reaches the sidecar without a change.
#[test]
fn the_sample_can_be_injected_as_it_is() {
    let file = root().join("sample/plain/payments.yaml");
    let ran = Command::new(env!("CARGO_BIN_EXE_outboard")).args(["inject", "--all", "-f"]).arg(&file).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    let service = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(service.split("---\n").next().unwrap()), "the Service is as it was");
    let made = objects(&text);
    for object in &made {
        assert_eq!(valid(object), Ok(()));
    }
    let sidecar = &made[1]["spec"]["template"]["spec"]["initContainers"][0];
    assert_eq!((&sidecar["ports"][0]["name"], &sidecar["ports"][0]["containerPort"]), (&"http".into(), &15080.into()));
}
