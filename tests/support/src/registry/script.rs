// SPDX-License-Identifier: Apache-2.0
//! Which request meets which fault.
//!
//! What enters is [`Rule`]s; what leaves, per request, is a fault and the gates to wait at. A rule sees only requests
//! that authentication let through: one that is refused for want of credentials gets its honest challenge and is not
//! counted, so "the second GET of the manifest" means the same with and without authentication.

use http::Method;

use super::call::Call;
use super::fault::Fault;
use super::gate::Gate;
use super::route::Endpoint;

/// When to do what wrong.
///
/// ```
/// use wharf_test_support::registry::{Endpoint, Fault, Rule};
///
/// // The first two pulls of any blob break off after 1000 bytes.
/// Rule::on(Endpoint::Blob).get().times(2).fault(Fault::ResetAt(1000));
/// // The tag is answered with 429, then 503, then honestly.
/// Rule::on(Endpoint::Manifest).repository("team/app").reference("1.0.0").faults([
///     Fault::retry_after(429, "1"),
///     Fault::status(503),
/// ]);
/// ```
#[derive(Clone, Debug)]
pub struct Rule {
    endpoint: Endpoint,
    method: Option<Method>,
    repository: Option<String>,
    reference: Option<String>,
    gate: Option<Gate>,
    skip: usize,
    times: usize,
    /// The n-th request gets the n-th of these, or the last.
    faults: Vec<Fault>,
    /// Requests that matched so far.
    hits: usize,
    /// Requests that met one of its faults so far.
    played: usize,
}

impl Rule {
    /// A rule for requests to this kind of endpoint, that does nothing yet.
    pub fn on(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            method: None,
            repository: None,
            reference: None,
            gate: None,
            skip: 0,
            times: usize::MAX,
            faults: Vec::new(),
            hits: 0,
            played: 0,
        }
    }

    /// Only requests with this method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only GET.
    pub fn get(self) -> Self {
        self.method(Method::GET)
    }

    /// Only this repository.
    pub fn repository(mut self, name: &str) -> Self {
        self.repository = Some(name.to_owned());
        self
    }

    /// Only this tag, digest or upload session, as it stands in the path.
    pub fn reference(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Leaves the first so many requests alone.
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Ends after so many requests (after those skipped). The default is never.
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    /// Does this wrong.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults = vec![fault];
        self
    }

    /// Does these wrong, one per request, and ends after the last.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self.times = self.faults.len();
        self
    }

    /// Holds the request at a gate, before it has any effect and before the fault.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let same = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|w| w == is);
        self.endpoint == call.route.endpoint
            && self.method.as_ref().is_none_or(|m| *m == call.method)
            && same(&self.repository, &call.route.repository)
            && same(&self.reference, &call.route.reference)
    }

    /// Counts a request that matched and says which one of those it applies to it is.
    fn hit(&mut self) -> Option<usize> {
        let place = self.hits.checked_sub(self.skip);
        self.hits += 1;
        place.filter(|place| *place < self.times)
    }

    fn fault_at(&self, place: usize) -> Option<Fault> {
        let last = self.faults.len().checked_sub(1)?;
        self.faults.get(place.min(last)).cloned()
    }
}

/// The rules in force, in the order they were given.
#[derive(Default)]
pub(crate) struct Script(Vec<Rule>);

/// What happens to a request.
pub(crate) struct Decision {
    pub(crate) gates: Vec<Gate>,
    pub(crate) fault: Fault,
}

impl Script {
    pub(crate) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn played(&self) -> Vec<usize> {
        self.0.iter().map(|rule| rule.played).collect()
    }

    /// Every rule that matches counts the request; the first one with a fault for it decides.
    pub(crate) fn decide(&mut self, call: &Call) -> Decision {
        let mut gates = Vec::new();
        let mut fault = None;
        for rule in self.0.iter_mut().filter(|rule| rule.matches(call)) {
            if let Some(place) = rule.hit() {
                gates.extend(rule.gate.clone());
                if fault.is_none() {
                    fault = rule.fault_at(place);
                    rule.played += usize::from(fault.is_some());
                }
            }
        }
        Decision {
            gates,
            fault: fault.unwrap_or(Fault::Honest),
        }
    }
}
