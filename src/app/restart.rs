//! Which changes of the configuration only take effect when the process starts, and what is in force until then.

use crate::config::types::{Config, Server};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// A key whose value the process was given at its start.
struct Key {
    /// As it is named to people.
    name: &'static str,
    table: &'static str,
    /// The keys of the table that it is about; all of them when empty.
    members: &'static [&'static str],
    /// Its value, to be compared.
    value: fn(&Config) -> String,
}

/// The keys that differ from those at the start, and need a restart.
pub(super) fn needed(started: &Config, new: &Config) -> Vec<&'static str> {
    differing(started, new).map(|key| key.name).collect()
}

/// What is in force, of a configuration that was loaded since the start: what needs a restart is as it was then, and what waits
/// for the restart is told beside it.
pub(super) fn in_force(started: (&Config, &str), new: (&Config, &str)) -> String {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (before, mut shown) = (parse(started.1), parse(new.1));
    let mut waiting = Map::new();
    for key in differing(started.0, new.0) {
        let members: Vec<&str> = match key.members {
            [] => vec![key.table],
            members => members.to_vec(),
        };
        for member in members {
            let (from, into) = if key.members.is_empty() {
                (before.get(member), &mut shown)
            } else {
                let table = shown.entry(key.table).or_insert_with(|| Value::Object(Map::new()));
                let Some(table) = table.as_object_mut() else { continue };
                (before.get(key.table).and_then(|table| table.get(member)), table)
            };
            let new = match from {
                Some(value) => into.insert(member.to_owned(), value.clone()),
                None => into.remove(member),
            };
            let name = if key.members.is_empty() { member.to_owned() } else { format!("{}.{member}", key.table) };
            let _ = waiting.insert(name, new.unwrap_or(Value::Null));
        }
    }
    if !waiting.is_empty() {
        let _ = shown.insert("takes_effect_with_a_restart".to_owned(), Value::Object(waiting));
    }
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}

fn differing<'c>(started: &'c Config, new: &'c Config) -> impl Iterator<Item = &'static Key> + use<'c> {
    KEYS.iter().filter(move |key| (key.value)(started) != (key.value)(new))
}

const fn of_server(name: &'static str, members: &'static [&'static str], value: fn(&Config) -> String) -> Key {
    Key { name, table: "server", members, value }
}

const fn table(name: &'static str, value: fn(&Config) -> String) -> Key {
    Key { name, table: name, members: &[], value }
}

fn shown(value: &dyn Debug) -> String {
    format!("{value:?}")
}

/// The numbers that sockets and workers are given.
fn sizes(Server { max_header_bytes, max_headers, .. }: &Server) -> String {
    format!("{max_header_bytes} {max_headers}")
}

/// What the sockets and the workers have been given at the start, by name. Everything else of `[server]` is looked up when it is
/// needed: drain_timeout, drain_delay, trust_forwarded, public_url, error_docs_url, cors, and the files of tls.
const KEYS: [Key; 14] = [
    table("admin", |config| shown(&config.admin)),
    table("limits", |config| {
        let limits = &config.limits;
        let backend = limits.backend.as_ref().map(|backend| backend.reveal());
        shown(&(backend, &limits.ca_file, limits.lease, limits.timeout, &limits.prefix, &limits.state))
    }),
    of_server("server.body_timeout", &["body_timeout"], |config| shown(&config.server.body_timeout)),
    of_server("server.header_timeout", &["header_timeout"], |config| shown(&config.server.header_timeout)),
    of_server("server.http2", &["http2"], |config| shown(&config.server.http2_max_streams)),
    of_server("server.keep_alive_timeout", &["keep_alive_timeout"], |config| shown(&config.server.keep_alive_timeout)),
    of_server("server.listen", &["listen"], |config| shown(&config.server.listen)),
    of_server("server.max_connections", &["max_connections"], |config| shown(&config.server.max_connections)),
    of_server("server.max_header_bytes and max_headers", &["max_header_bytes", "max_headers"], |config| {
        sizes(&config.server)
    }),
    of_server("server.max_target_bytes", &["max_target_bytes"], |config| shown(&config.server.max_target_bytes)),
    of_server("server.tls (on or off)", &["tls"], |config| shown(&config.server.tls.is_some())),
    of_server("server.workers", &["workers"], |config| shown(&config.server.workers)),
    of_server("server.write_timeout", &["write_timeout"], |config| shown(&config.server.write_timeout)),
    table("telemetry", |config| shown(&config.telemetry)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Loaded, load_str};

    fn loaded(server: &str) -> Loaded {
        let route = "[[routes]]\nname = 't'\nmatch = { path = '/t' }\nprovider = 'generic'\nupstream = 'https://a'\n";
        load_str(&[("t.toml", &format!("{server}\n{route}"))], []).expect("a configuration")
    }

    #[test]
    fn what_is_in_force_is_shown_and_what_waits_beside_it() {
        let started = loaded("[server]\nlisten = '127.0.0.1:1'\nmax_headers = 50\n");
        let new = loaded(
            "[server]\nlisten = ['127.0.0.1:2', '127.0.0.1:3']\nworkers = 3\ndrain_delay = '1s'\n[admin]\nenabled = false\n",
        );
        let text = in_force((&started.config, &started.redacted), (&new.config, &new.redacted));
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            shown["server"],
            serde_json::json!({ "listen": "127.0.0.1:1", "max_headers": 50, "drain_delay": "1s" })
        );
        assert_eq!(shown.get("admin"), None);
        let waiting = serde_json::json!({
            "server.listen": ["127.0.0.1:2", "127.0.0.1:3"],
            "server.max_header_bytes": null,
            "server.max_headers": null,
            "server.workers": 3,
            "admin": { "enabled": false },
        });
        assert_eq!(shown["takes_effect_with_a_restart"], waiting);
        assert_eq!(
            in_force((&started.config, &started.redacted), (&started.config, &started.redacted)),
            started.redacted
        );
    }

    #[test]
    fn names_come_in_order() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
    }
}
