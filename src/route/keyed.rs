//! The section `idempotency` of a route, compiled: what of a request is its key, and whose.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};

use super::key::{Key, Source};
use crate::config::{Config, KeySource};
use crate::observe::metrics::RouteKeys;
use crate::policy::idempotency::{
    self, Digest, Hash, InFlight, KeyError, MissingOwner, Outcomes, ReplayTo, Settings, Store, Terms, UnknownOutcome,
};
use crate::policy::parts::Parts;

/// How a route keeps idempotency keys.
pub struct Keyed {
    /// The field that the key stands in.
    pub header: HeaderName,
    /// A request without one is refused.
    pub required: bool,
    /// Who gets an answer that is kept.
    pub replay_to: ReplayTo,
    /// How long things last.
    pub terms: Terms,
    /// What a try does while another of its key is at work.
    pub in_flight: InFlight,
    /// What it is told of an unknown outcome.
    pub unknown: UnknownOutcome,
    /// How long an outcome is unknown before the application is believed that it did not carry the request out: as long as
    /// it may take for one.
    pub settled: Duration,
    /// What statuses say.
    pub outcomes: Outcomes,
    /// The longest body of a keyed request.
    pub max_request: u64,
    /// The longest body of an answer that is kept.
    pub max_response: usize,
    /// Where the records are.
    pub store: Store,
    /// What it counts into.
    pub metrics: Arc<RouteKeys>,
    /// The route's name, as its records have it.
    pub name: Arc<str>,
    /// Where a request was sent that was not sent yet.
    pub nowhere: Arc<str>,
    owner: Key,
    missing_owner: MissingOwner,
    credentials: Vec<HeaderName>,
    scope: String,
}

/// What a request with a key is.
pub struct Identity<'r> {
    /// The key itself.
    pub key: Cow<'r, [u8]>,
    /// By what its record is found.
    pub hash: Hash,
    /// Stands for its owner.
    pub owner: [u8; 8],
    /// Who asked.
    pub credential: Hash,
}

/// Why a request has no identity.
#[derive(Debug, PartialEq, Eq)]
pub enum Unidentified<'k> {
    /// It has no key, and must have one.
    Missing,
    /// Its key is none.
    Malformed(KeyError),
    /// It lacks this part of its owner.
    Owner(&'k KeySource),
    /// It lacks that, and a credential.
    Credential,
}

impl Keyed {
    /// Compiles a section that passed its checks; none where the owner cannot be told.
    pub fn compile(
        settings: &Settings,
        config: &Config,
        (name, upstream): (&str, &str),
        total: Duration,
        metrics: Arc<RouteKeys>,
    ) -> Option<Self> {
        Some(Keyed {
            header: settings.header.parse().ok()?,
            required: settings.required,
            replay_to: settings.replay_to,
            terms: settings.terms(total),
            in_flight: settings.in_flight,
            unknown: settings.unknown_outcome.clone(),
            settled: total,
            outcomes: settings.outcomes.clone(),
            max_request: settings.max_request.bytes(),
            max_response: settings.max_response.as_usize(),
            store: settings.store,
            metrics,
            name: name.into(),
            nowhere: "".into(),
            owner: Key::parse_all(&settings.owner)?,
            missing_owner: settings.missing_owner,
            credentials: config.credentials.iter().filter_map(|name| name.parse().ok()).collect(),
            scope: upstream.to_owned(),
        })
    }

    /// Whether requests with this method are kept: the others change nothing, however often they are sent.
    pub fn takes(&self, method: &Method) -> bool {
        !method.is_safe()
    }

    /// What a request is; none where it has no key and needs none.
    ///
    /// The record of a key is found by where its request goes, whose it is, and the key: not by its path, so that one key
    /// for two requests is noticed; not by its route, so that a route may be renamed. What the application itself calls with
    /// a key that it was given goes elsewhere, and has a record of its own.
    ///
    /// # Errors
    /// Where it must not be sent on as it is.
    pub fn identify<'r>(
        &self,
        headers: &'r HeaderMap,
        source: &Source<'_>,
    ) -> Result<Option<Identity<'r>>, Unidentified<'_>> {
        let values = headers.get_all(&self.header).iter().map(|value| value.as_bytes());
        let key = match idempotency::key(values).map_err(Unidentified::Malformed)? {
            Some(key) => key,
            None if self.required => return Err(Unidentified::Missing),
            None => return Ok(None),
        };
        let mut owner = Digest::new("owner");
        if let Err(lacks) = self.owner.feed(source, &mut owner) {
            let has_credential = self.credentials.iter().any(|name| headers.contains_key(name));
            match self.missing_owner {
                MissingOwner::Refuse => return Err(Unidentified::Owner(lacks)),
                MissingOwner::Credential if !has_credential => return Err(Unidentified::Credential),
                MissingOwner::Credential => {
                    owner = Digest::new("owner by credential");
                    self.feed_credential(headers, &mut owner);
                }
            }
        }
        let owner = owner.finish();
        let mut hash = Digest::new("key");
        for part in [self.scope.as_bytes(), &owner, &key] {
            hash.part(part);
        }
        let hash = hash.finish();
        // Another one for each record: who reads them cannot tell which are of one credential, nor guess it for all at once.
        let mut credential = Digest::new("credential");
        credential.part(&hash);
        self.feed_credential(headers, &mut credential);
        let mut short = [0; 8];
        short.copy_from_slice(&owner[..8]);
        Ok(Some(Identity { key, hash, owner: short, credential: credential.finish() }))
    }

    /// Adds what says who asks.
    fn feed_credential(&self, headers: &HeaderMap, digest: &mut Digest) {
        for name in &self.credentials {
            for value in headers.get_all(name) {
                digest.part(name.as_str().as_bytes());
                digest.part(value.as_bytes());
            }
        }
    }
}
