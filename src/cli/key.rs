//! `speechgate key new`: a new gateway key, and its line for the configuration.

use crate::proxy::gateway_key as key;

/// The key on a line of its own, printed only this once, and the lines for the configuration. None without random bytes.
pub(super) fn new(tenant: &str) -> Option<String> {
    let key = key::make()?;
    let hash = key::shown(&key::hash(key.as_bytes()));
    Some(format!(
        "{key}\n\n\
         # The key above is shown this once; clients send it where they send the provider's. The configuration has its hash:\n\
         [[tenants]]\nname = \"{tenant}\"\nkeys = [\"{hash}\"]\n"
    ))
}

/// Validates a tenant's name.
pub(super) fn name(text: &str) -> Result<String, String> {
    crate::config::name(text).map(|()| text.to_owned()).map_err(|expected| format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_configuration_accepts_the_key() {
        let printed = new("support-bot").expect("random bytes");
        let (made, rest) = printed.split_once('\n').expect("lines");
        let route =
            "[[routes]]\nname = 't'\nmatch = { path = '/t' }\nprovider = 'generic'\nupstream = 'https://a.example'\n";
        let text = format!("{route}{rest}");
        let loaded = crate::config::load_str(&[("t.toml", &text)], []).expect("a configuration");
        let tenant = &loaded.config.tenants[0];
        assert_eq!((tenant.name.as_str(), tenant.keys[0].hash), ("support-bot", key::hash(made.as_bytes())));
        assert_eq!(printed.matches(made).count(), 1);
    }
}
