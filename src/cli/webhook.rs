//! `outboard webhook`: the mutating admission webhook.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Failure;
use super::inject::DEFAULT_IMAGE;
use super::remote::block_on;
use crate::kube::version::Version;
use crate::webhook::{self, Certificate, Settings};

/// Arguments of `webhook`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where API servers reach it, over HTTPS
    #[arg(long, default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// Where the kubelet and a scraper do: /livez /readyz /metrics
    #[arg(long, default_value = "0.0.0.0:9902")]
    probes: SocketAddr,
    /// The sidecar's image
    #[arg(long, env = "OUTBOARD_IMAGE", default_value = DEFAULT_IMAGE)]
    image: String,
    /// The version of Kubernetes; left out, the API server is asked
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<Version>,
    /// Also pods without an annotation outboard.dev/inject, in the namespaces that the webhook is called for
    #[arg(long)]
    all: bool,
    /// A certificate of cert-manager's, or anybody's: PEM, watched. Left out, it makes its own
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// The namespace of its Secret and its Service
    #[arg(long, env = "POD_NAMESPACE", default_value = "outboard")]
    namespace: String,
    /// The Secret that its own certificate is kept in
    #[arg(long, default_value = "outboard-injector-tls")]
    secret: String,
    /// The Service by which API servers reach it
    #[arg(long, default_value = "outboard-injector")]
    service: String,
    /// The MutatingWebhookConfiguration that is told of its CA
    #[arg(long, default_value = "outboard-injector")]
    configuration: String,
    /// Ask no API server: nothing is known of Services, of namespaces and of ConfigMaps
    #[arg(long, requires_all = ["kubernetes", "cert_file"])]
    alone: bool,
}

/// Runs until a signal; blocks.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let certificate = match (args.cert_file, args.key_file) {
        (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
        _ => Certificate::Own {
            namespace: args.namespace,
            secret: args.secret,
            webhook: args.configuration,
            service: args.service,
        },
    };
    let settings = Settings {
        listen: args.listen,
        probes: args.probes,
        image: args.image,
        kubernetes: args.kubernetes,
        all: args.all,
        certificate,
        alone: args.alone,
    };
    Ok(block_on(webhook::run(settings))??)
}
