//! Keeps the certificate of all replicas: in a Secret, so that they serve with the same, and its CA in the
//! MutatingWebhookConfiguration, so that API servers believe it.
//!
//! A renewal first lets the new CA be believed beside the old one, then puts the new certificate into the Secret. Whichever
//! of the two a replica serves with, and however late it sees the Secret, API servers believe it. Two replicas that renew at
//! once meet in the Secret's version: the slower one takes what the other made.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::api::{Api, ApiError};
use super::certificate::{CertificateError, Issued, RENEWED, issue};

/// How often the Secret is looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// What a certificate ends with.
const END: &str = "-----END CERTIFICATE-----";
/// How many CAs are believed at most: replicas that renew at once make one each.
const BELIEVED: usize = 5;
/// API servers hear of a new CA after a moment; until then the old certificate is the one to serve with.
const HEARD: Duration = Duration::from_secs(3);

/// Where the certificate is kept, and who is told of its CA.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) webhook: String,
    /// The Service, by whose name API servers come.
    pub(super) service: String,
}

impl Place {
    fn names(&self) -> Vec<String> {
        let base = format!("{}.{}.svc", self.service, self.namespace);
        vec![format!("{base}.cluster.local"), base, format!("{}.{}", self.service, self.namespace)]
    }

    fn secret_path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", self.namespace, self.secret)
    }

    fn webhook_path(&self) -> String {
        format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}", self.webhook)
    }
}

/// Why the certificate is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// The API server gave nothing.
    #[error("{what}: {cause}")]
    Api {
        /// What was asked.
        what: &'static str,
        /// Why there was nothing.
        cause: ApiError,
    },
    /// It cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Keeps it.
pub(super) struct Keeper {
    api: Arc<Api>,
    place: Place,
}

impl Keeper {
    pub(super) fn new(api: Arc<Api>, place: Place) -> Keeper {
        Keeper { api, place }
    }

    /// The certificate to serve with, made anew where it has to be. `now`: since 1970.
    pub(super) async fn keep(&self, now: Duration) -> std::result::Result<Issued, KeepError> {
        let failed = |what| move |cause| KeepError::Api { what, cause };
        let seconds = now.as_secs();
        let kept = match self.api.get(&self.place.secret_path()).await {
            Ok(secret) => Some(secret),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(failed("the Secret cannot be read")(e)),
        };
        let current = kept.as_ref().and_then(read);
        if let Some(issued) = &current
            && issued.until > seconds + RENEWED.as_secs()
        {
            self.believe(&[&issued.ca]).await?;
            return Ok(issued.clone());
        }
        let fresh = issue(&self.place.names(), UNIX_EPOCH + now)?;
        let mut believed = vec![fresh.ca.as_str()];
        if let Some(current) = current.as_ref().filter(|current| current.until > seconds) {
            believed.push(&current.ca);
        }
        self.believe(&believed).await?;
        if believed.len() > 1 {
            tokio::time::sleep(HEARD).await;
        }
        let secret = self.secret(&fresh, kept.as_ref());
        let written = match &kept {
            None => self.api.create(&format!("/api/v1/namespaces/{}/secrets", self.place.namespace), &secret).await,
            Some(_) => self.api.replace(&self.place.secret_path(), &secret).await,
        };
        match written {
            Ok(_) => {
                tracing::info!(event = "certificate_renewed", secret = %self.place.secret, until = fresh.until);
                Ok(fresh)
            }
            // Another replica was first: what it made holds for all.
            Err(e) if e.is_conflict() => {
                let theirs = self.api.get(&self.place.secret_path()).await;
                let theirs = read(&theirs.map_err(failed("the Secret cannot be read"))?);
                let theirs = theirs.ok_or_else(|| CertificateError::Use("the Secret holds none".into()))?;
                self.believe(&[&theirs.ca]).await?;
                Ok(theirs)
            }
            Err(e) => Err(failed("the Secret cannot be written")(e)),
        }
    }

    /// Lets API servers believe these CAs, beside those that they believe and that still hold. What is there and enough is
    /// left alone, so that replicas do not write against each other.
    async fn believe(&self, cas: &[&str]) -> std::result::Result<(), KeepError> {
        let failed = |cause| KeepError::Api { what: "the MutatingWebhookConfiguration", cause };
        let path = self.place.webhook_path();
        let found = self.api.get(&path).await.map_err(failed)?;
        let webhooks = found.get("webhooks").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut patch = Vec::new();
        for (at, webhook) in webhooks.iter().enumerate() {
            let config = webhook.get("clientConfig").cloned().unwrap_or_default();
            let bundle = config.get("caBundle").and_then(Value::as_str).unwrap_or_default();
            let bundle =
                BASE64_STANDARD.decode(bundle).ok().and_then(|pem| String::from_utf8(pem).ok()).unwrap_or_default();
            if cas.iter().all(|ca| bundle.contains(ca.trim())) {
                continue;
            }
            // What is believed already may still be served with: the newest few stay.
            let mut all: Vec<&str> = cas.iter().map(|ca| ca.trim()).collect();
            for before in bundle.split_inclusive(END).map(str::trim) {
                if before.ends_with(END) && !all.contains(&before) && all.len() < BELIEVED {
                    all.push(before);
                }
            }
            let value = BASE64_STANDARD.encode(all.join("\n") + "\n");
            patch.push(json!({ "op": "add", "path": format!("/webhooks/{at}/clientConfig/caBundle"), "value": value }));
        }
        if !patch.is_empty() {
            // Only as long as it is what was read: two that renew at once would forget each other's.
            if let Some(version) = found.pointer("/metadata/resourceVersion") {
                patch.insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version }));
            }
            self.api.patch(&path, &Value::Array(patch)).await.map_err(failed)?;
        }
        Ok(())
    }

    fn secret(&self, issued: &Issued, kept: Option<&Value>) -> Value {
        let encoded = |pem: &str| BASE64_STANDARD.encode(pem);
        let mut metadata = json!({
            "name": self.place.secret,
            "namespace": self.place.namespace,
            "labels": { "app.kubernetes.io/name": "outboard-injector" },
        });
        if let Some(version) = kept.and_then(|kept| kept.pointer("/metadata/resourceVersion")) {
            metadata["resourceVersion"] = version.clone();
        }
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": metadata,
            "data": {
                "ca.crt": encoded(&issued.ca),
                "tls.crt": encoded(&issued.certificate),
                "tls.key": encoded(&issued.key),
                "until": encoded(&issued.until.to_string()),
            },
        })
    }
}

/// What a Secret holds; none where something is missing, or is not what it should be.
fn read(secret: &Value) -> Option<Issued> {
    let text = |name: &str| {
        let encoded = secret.get("data")?.get(name)?.as_str()?;
        String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()
    };
    let issued = Issued {
        ca: text("ca.crt")?,
        certificate: text("tls.crt")?,
        key: text("tls.key")?,
        until: text("until")?.trim().parse().ok()?,
    };
    super::certificate::server(issued.certificate.as_bytes(), issued.key.as_bytes()).ok()?;
    Some(issued)
}
