//! `outboard inject -f FILE`: manifests in, manifests with the sidecar out.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::kube::inject::{Injector, Left};
use crate::kube::manifest::{Done, What, Work, check, run as work_on};
use crate::kube::version::Version;

/// Arguments of `inject`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Manifests; - is the standard input
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The version of Kubernetes that will run them; it decides between native and classic sidecars
    #[arg(long, value_name = "VERSION", default_value_t = Version::NATIVE_PORTS)]
    kubernetes: Version,
    /// The sidecar's image
    #[arg(long, env = "OUTBOARD_IMAGE", default_value = DEFAULT_IMAGE)]
    image: String,
    /// Also what has no annotation outboard.dev/inject
    #[arg(long, conflicts_with = "uninject")]
    all: bool,
    /// Take the sidecar out
    #[arg(long)]
    uninject: bool,
}

/// The image of this version.
pub(super) const DEFAULT_IMAGE: &str = concat!("outboard:", env!("CARGO_PKG_VERSION"));

/// Works on each file. Where one object cannot be injected nothing is written, so that nothing is applied by half.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let injector = Injector { image: args.image.clone(), kubernetes: args.kubernetes, all: args.all };
    let work = if args.uninject { Work::Uninject } else { Work::Inject(injector) };
    // One text: a Service may stand in another file than what it selects.
    let mut text = String::new();
    let mut name = Vec::new();
    for path in &args.files {
        let part = read(path)?;
        // By itself first: what is wrong is told with its line in this file.
        check(&part, &path.display().to_string()).map_err(|malformed| Failure::Manifest(malformed.to_string()))?;
        if !text.is_empty() && !part.starts_with("---") {
            text.push_str(if text.ends_with('\n') { "---\n" } else { "\n---\n" });
        }
        text.push_str(&part);
        name.push(path.display().to_string());
    }
    let done = work_on(&text, &name.join("+"), &work).map_err(|malformed| Failure::Manifest(malformed.to_string()))?;
    let good = tell(&done, err)?;
    if !good {
        return Err(Failure::Config);
    }
    out.write_all(done.text.as_bytes())?;
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(e) => Err(Failure::Manifest(format!("{}: cannot be read: {e}", path.display()))),
    }
}

/// Says on a line each what happened. Whether all of it is good.
fn tell(done: &Done, err: &mut dyn Write) -> Result<bool, Failure> {
    let mut good = true;
    for note in &done.notes {
        let object = &note.object;
        match &note.what {
            What::Injected(warnings) => {
                writeln!(err, "{object}: injected")?;
                for warning in warnings {
                    writeln!(err, "{object}: warning: {warning}")?;
                }
            }
            What::Uninjected => writeln!(err, "{object}: taken out")?,
            What::Left(Left::NotAsked) => {
                writeln!(
                    err,
                    "{object}: left as it is; outboard.dev/inject: enabled in its pod's annotations asks for the sidecar"
                )?;
            }
            What::Left(left) => writeln!(err, "{object}: left as it is ({})", left.as_str())?,
            What::Renamed(port) => writeln!(err, "{object}: its targetPort is now {port}, which is the sidecar's")?,
            What::Unreachable(port) => writeln!(
                err,
                "{object}: warning: port {port} has no name in pods that run already: the Service reaches none of them until \
                 they are replaced; where that matters give the port a name first, roll, and inject then"
            )?,
            What::Unread(why) => writeln!(err, "{object}: warning: passed through unread: {why}")?,
            What::Ignored(message) => writeln!(err, "{object}: warning: left as it is: {message}")?,
            What::Refused(_, message) => {
                good = false;
                writeln!(err, "{object}: error: {message}")?;
            }
        }
    }
    Ok(good)
}
