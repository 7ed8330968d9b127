//! Manifests in, manifests out: several documents, lists in them, and everything that runs no pods passes through byte for
//! byte.

mod yaml;

use std::collections::BTreeMap;

use serde_json::Value;

use super::annotations::OnFailure;
use super::inject::services::{self, Targets, labels};
use super::inject::{Injector, Left, Outcome, Reason, Refused, Surroundings, UNNAMED, inject, on_failure};
use super::pod;
use super::uninject::uninject;
use super::workload::{self, Maker};
pub use yaml::Unread;

/// What is done to manifests.
#[derive(Debug, Clone)]
pub enum Work {
    /// The sidecar is put in. One that is there is put in anew, by this injector.
    Inject(Injector),
    /// It is taken out.
    Uninject,
}

/// What became of manifests.
#[derive(Debug, Default)]
pub struct Done {
    /// The text.
    pub text: String,
    /// What happened to each object that runs pods, and to each Service that was changed.
    pub notes: Vec<Note>,
}

/// What happened to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The object, as `Deployment/payments`.
    pub object: String,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It has the sidecar; what its owner should know.
    Injected(Vec<String>),
    /// It has it no more.
    Uninjected,
    /// It is as it was.
    Left(Left),
    /// A Service reaches the sidecar by name.
    Renamed(String),
    /// A Service reaches no pod that runs already, until it is replaced: the port had no name.
    Unreachable(u16),
    /// A document was passed over: it cannot be read, and is none of those that matter here.
    Unread(String),
    /// It cannot have it, and asked to be left alone then.
    Ignored(String),
    /// It cannot have it.
    Refused(Reason, String),
}

/// A document that cannot be read, in the text as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct Malformed {
    file: String,
    line: usize,
    column: usize,
    message: String,
}

/// Works on a text.
///
/// # Errors
/// Where a document cannot be read. Pods that cannot be injected are no error of the text: they are told in the notes, and
/// pass through as they are.
pub fn run(text: &str, file: &str, work: &Work) -> Result<Done, Malformed> {
    let mut done = Done::default();
    let mut documents = documents(text, file, &mut done.notes)?;
    // Services and ConfigMaps may stand before what they belong to and behind it.
    let around: Vec<Value> = documents.iter().flat_map(|document| document.objects()).cloned().collect();
    let mut renamed = Vec::new();
    for document in &mut documents {
        document.each(&mut |object| {
            let changed = one(object, work, &around, &mut renamed, &mut done.notes);
            if let Some(changed) = changed {
                *object = changed;
                return true;
            }
            false
        });
    }
    for taken in &renamed {
        for document in &mut documents {
            document.each(&mut |object| {
                let meant = workload::is_service(object)
                    && namespace(object) == taken.namespace
                    && services::selects(object, &taken.labels);
                let to = if meant { taken.apply(object) } else { None };
                let changed = to.is_some();
                let object = workload::name(object);
                let unnamed = taken.name.as_deref() == Some(UNNAMED) && changed;
                done.notes.extend(to.map(|to| Note { object: object.clone(), what: What::Renamed(to) }));
                if unnamed {
                    done.notes.push(Note { object, what: What::Unreachable(taken.port) });
                }
                changed
            });
        }
    }
    for document in &documents {
        document.write(&mut done.text);
    }
    Ok(done)
}

/// Whether a text can be worked on.
///
/// # Errors
/// As [`run`] has them.
pub fn check(text: &str, file: &str) -> Result<(), Malformed> {
    documents(text, file, &mut Vec::new()).map(drop)
}

/// A port by which Services reach pods otherwise than before.
struct Renamed {
    namespace: String,
    /// Of the pods.
    labels: BTreeMap<String, String>,
    port: u16,
    /// The name it has now; none: it has its number alone again.
    name: Option<String>,
}

impl Renamed {
    /// Changes a Service; what its targetPort is now, where that is another.
    fn apply(&self, service: &mut Value) -> Option<String> {
        match &self.name {
            Some(name) => services::rename(service, self.port, name).then(|| name.clone()),
            None => services::renumber(service, UNNAMED, self.port).then(|| self.port.to_string()),
        }
    }
}

/// The object with another pod in it; none where it stays as it is.
fn one(
    object: &Value,
    work: &Work,
    around: &[Value],
    renamed: &mut Vec<Renamed>,
    notes: &mut Vec<Note>,
) -> Option<Value> {
    let kind = workload::of(object)?;
    let given = object.pointer(kind.pod)?;
    let mut note = |what| notes.push(Note { object: workload::name(object), what });
    let with = |pod: Value| {
        let mut changed = object.clone();
        *changed.pointer_mut(kind.pod)? = pod;
        (changed != *object).then_some(changed)
    };
    let clean = uninject(given);
    let own = namespace(object);
    let Work::Inject(injector) = work else {
        let clean = clean?;
        note(What::Uninjected);
        if let Some(port) = clean.unnamed {
            renamed.push(Renamed { namespace: own, labels: labels(&clean.pod), port, name: None });
        }
        return with(clean.pod);
    };
    let clean = clean.map(|clean| clean.pod);
    let pod = clean.as_ref().unwrap_or(given);
    let here = || around.iter().filter(|other| namespace(other) == own);
    let labels = labels(pod);
    let surroundings = Surroundings {
        ends: kind.ends,
        maker: Maker::of(object),
        services: Some(Targets::of(here().filter(|other| workload::is_service(other)), &labels)),
        services_change: true,
        config_map: &|name| {
            let map = here().find(|other| {
                workload::is_config_map(other) && other.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
            })?;
            map.pointer("/data/outboard.yaml").and_then(Value::as_str).map(str::to_owned)
        },
    };
    match inject(injector, &surroundings, pod) {
        Ok(Outcome::Injected(injected)) => {
            note(What::Injected(injected.warnings));
            let (port, name) = injected.taken;
            renamed.push(Renamed { namespace: own, labels, port, name: Some(name) });
            with(injected.pod)
        }
        Ok(Outcome::Left(left)) => {
            note(What::Left(left));
            // It had the sidecar and does not want it any more.
            with(clean?)
        }
        Err(Refused { reason, message }) => {
            let ignores = on_failure(pod) == Some(OnFailure::Ignore);
            note(if ignores { What::Ignored(message) } else { What::Refused(reason, message) });
            None
        }
    }
}

fn namespace(object: &Value) -> String {
    object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// One document of a text.
struct Document<'t> {
    /// As it was written, its separator included.
    text: &'t str,
    object: Option<Value>,
    changed: bool,
}

impl Document<'_> {
    /// Its objects: itself, or the items of a list.
    fn objects(&self) -> Vec<&Value> {
        match &self.object {
            Some(object) if is_list(object) => pod::list(object, "items").iter().collect(),
            Some(object) => vec![object],
            None => Vec::new(),
        }
    }

    /// Lets each of its objects be changed; `change` says whether it did.
    fn each(&mut self, change: &mut dyn FnMut(&mut Value) -> bool) {
        let Some(object) = &mut self.object else { return };
        if is_list(object) {
            for item in pod::list_mut(object, "items") {
                self.changed |= change(item);
            }
        } else {
            self.changed |= change(object);
        }
    }

    fn write(&self, out: &mut String) {
        let Some(object) = self.object.as_ref().filter(|_| self.changed) else { return out.push_str(self.text) };
        // The separator, and the comments and empty lines before the first line that says something.
        let mut behind = 0;
        for line in self.text.split_inclusive('\n') {
            let separator = behind == 0 && line.trim_end() == "---";
            if !separator && !line.trim_start().starts_with('#') && !line.trim().is_empty() {
                break;
            }
            behind += line.len();
        }
        out.push_str(&self.text[..behind]);
        if self.text[behind..].trim_start().starts_with('{') {
            out.push_str(&serde_json::to_string_pretty(object).unwrap_or_default());
            out.push('\n');
        } else {
            if behind == 0 && self.text.starts_with("---") {
                out.push_str("---\n");
            }
            yaml::write(object, out);
        }
    }
}

fn is_list(object: &Value) -> bool {
    let kind = object.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("List")) && object.get("items").is_some_and(Value::is_array)
}

fn documents<'t>(text: &'t str, file: &str, notes: &mut Vec<Note>) -> Result<Vec<Document<'t>>, Malformed> {
    let mut documents = Vec::new();
    let mut line = 0;
    for part in parts(text) {
        let object = match yaml::read(part) {
            Ok(object) => object,
            // What might have to be injected is not passed over.
            Err(unread) if workload::may_matter(part) => {
                let (line, column) = (line + unread.line, unread.column);
                return Err(Malformed { file: file.to_owned(), line, column, message: unread.message });
            }
            Err(unread) => {
                let object = format!("{file}:{}", line + unread.line);
                notes.push(Note { object, what: What::Unread(unread.message) });
                None
            }
        };
        line += part.matches('\n').count();
        documents.push(Document { text: part, object, changed: false });
    }
    Ok(documents)
}

/// What stands in the documents of a text.
#[cfg(test)]
pub(super) fn values(text: &str) -> Vec<Value> {
    parts(text).into_iter().filter_map(|part| yaml::read(part).ok().flatten()).collect()
}

/// The documents of a text, each with the line that separates it from the one before.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        let separates =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if separates && at > from {
            parts.push(&text[from..at]);
            from = at;
        }
        at += line.len();
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests;
