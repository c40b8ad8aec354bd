//! The WebSocket relay over real sockets: scripted providers, clients that speak bytes.
//!
//! * `errors`: the four places where an error hides, on canonical and on compatible routes
//! * `handshakes`: what counts as an upgrade and what does not
//! * `frames`: what passes, what is refused, who is told
//! * `conformance`: RFC 6455 case by case, with and without the gateway
//! * `autobahn`: the case groups of the Autobahn suite against another implementation, with and without the gateway
//! * `credentials`: what a route puts into handshakes and first messages, and what nobody is shown
//! * `ends`: closes, disappearances, silence, back-pressure
//! * `hostile`: what is no WebSocket, and deaths at every moment
//! * `meter`: the meter against the provider's own count
//! * `pings`: half-open connections, and what keeps idle ones open
//! * `played`: a provider whose sockets a test plays, for several of these
//! * `redial`: the provider's socket ends between generations, and the client keeps its own
//! * `redial_ends`: how that fails, and who is told
//! * `redial_races`: the same by dice: no word is lost, said twice, or lost in silence
//! * `slots`: contexts and generations that wait for a slot
//! * `fragments`: fragments and cuts anywhere make no difference
//! * `tls`: the same over TLS
//! * `usage`: what contexts used, and what that costs

mod accounts;
mod autobahn;
mod conformance;
mod credentials;
mod ends;
mod errors;
mod fragments;
mod frames;
mod handshakes;
mod hostile;
mod meter;
mod pings;
mod played;
mod redial;
mod redial_ends;
mod redial_races;
mod silence;
mod slots;
mod support;
mod tls;
mod usage;
