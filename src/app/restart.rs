//! Which configuration changes take effect only at a restart, and the configuration that is in force until then.

use crate::config::types::{Config, Server};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// A key whose value is fixed when the process starts.
struct Key {
    /// Its name in messages.
    name: &'static str,
    table: &'static str,
    /// The keys in the table that it stands for; the whole table when empty.
    members: &'static [&'static str],
    /// Its value, for comparison.
    value: fn(&Config) -> String,
}

/// The keys that differ from the start and need a restart.
pub(super) fn needed(started: &Config, new: &Config) -> Vec<&'static str> {
    differing(started, new).map(|key| key.name).collect()
}

/// The configuration in force, given one that was loaded later: keys that need a restart have their old value, and their new
/// values are listed separately.
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

/// The size limits that sockets and workers got at the start.
fn sizes(Server { max_header_bytes, max_headers, .. }: &Server) -> String {
    format!("{max_header_bytes} {max_headers}")
}

/// What sockets and workers got at the start, by name. Everything else of `[server]` is read when it is needed: drain_timeout,
/// drain_delay, trust_forwarded, public_url, error_docs_url, cors, and the TLS files.
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
    fn values_in_force_are_shown_with_the_pending_ones_listed() {
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
    fn keys_are_sorted_by_name() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
    }
}
