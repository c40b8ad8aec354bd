//! The error reference: a page with all codes at `/errors`, and a page for each at `/errors/CODE`.

use crate::canon::reference::{Entry, entries};
use crate::canon::{Code, Type, grpc};
use crate::config;
use crate::proxy::State;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The list of all codes by type.
pub(super) fn index() -> String {
    let mut body = String::from(
        "<p class=\"lead\">Every error has a type, which says what the client should do, and a code, which says what happened.</p>",
    );
    for kind in Type::ALL {
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            body,
            "<section><h2><code>{kind}</code> <small>{}</small></h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Code\
             <th scope=\"col\">Status<th scope=\"col\">Retry<th scope=\"col\">What happened</tr></thead><tbody>",
            escaped(kind.advice())
        );
        for row in Code::ROWS.iter().filter(|row| row.kind == kind) {
            let _ = write!(
                body,
                "<tr><th scope=\"row\"><a href=\"/errors/{0}\"><code>{0}</code></a><td data-label=\"Status\">{1}<td data-label=\"Retry\">{2}<td class=\"sentence\">{3}",
                row.name,
                row.status,
                yes(row.retryable),
                escaped(row.sentence)
            );
        }
        body.push_str("</tbody></table></div></section>");
    }
    page("Errors", "Errors", &body)
}

/// The page of one code, with what the built-in profiles and those of the routes map to it.
pub(super) fn code(name: &str, state: &State) -> Option<String> {
    let code = Code::from_name(name)?;
    let mut profiles: BTreeMap<String, _> =
        config::built_in_profiles().map(|profile| (profile.name().to_owned(), profile)).collect();
    profiles.extend(state.config.routes.iter().map(|route| (route.provider.clone(), route.profile.clone())));
    let entries = entries(profiles.values().map(AsRef::as_ref));
    Some(page(name, &format!("<code>{name}</code>"), &described(entries.get(code.index())?)))
}

fn described(entry: &Entry) -> String {
    let row = entry.row;
    let mut body = format!(
        "<p class=\"lead\">{}</p><p class=\"advice\">{}</p><dl class=\"facts\"><div><dt>Type<dd><code>{}</code></div><div><dt>HTTP \
         status<dd>{}</div><div><dt>WebSocket close<dd>{}</div><div><dt>gRPC<dd>{}</div><div><dt>Worth a retry<dd>{}</div></dl>",
        escaped(row.sentence),
        ticked(row.advice),
        row.kind,
        row.status,
        row.close,
        grpc::name(row.grpc.into()),
        yes(row.retryable),
    );
    if !entry.said.is_empty() {
        body.push_str("<section><h2>What providers say</h2><dl class=\"said\">");
        for said in &entry.said {
            let codes =
                said.codes.iter().map(|code| format!("<code>{}</code>", escaped(code))).collect::<Vec<_>>().join(" ");
            let codes = if codes.is_empty() { codes } else { format!("<dd class=\"codes\">{codes}") };
            let rules: String = said.rules.iter().map(|rule| format!("<dd>{}", ticked(rule))).collect();
            let _ = write!(body, "<dt>{}{codes}{rules}", escaped(&said.provider));
        }
        body.push_str("</dl></section>");
    }
    if !entry.faults.is_empty() {
        body.push_str("<section><h2>Failures that no provider reports</h2><dl class=\"said\">");
        for fault in &entry.faults {
            let _ = write!(body, "<dt>{}<dd>{}", fault.origin().as_str(), escaped(fault.sentence()));
        }
        body.push_str("</dl></section>");
    }
    body
}

fn page(title: &str, heading: &str, body: &str) -> String {
    include_str!("reference.html").replace("{title}", title).replace("{heading}", heading).replace("{body}", body)
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Renders text between backticks as code.
fn ticked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_profile_is_escaped() {
        assert_eq!(ticked("a `<b>\"` & c"), "a <code>&lt;b&gt;&quot;</code> &amp; c");
    }

    #[test]
    fn every_code_is_in_the_list_with_its_link() {
        let index = index();
        for row in Code::ROWS {
            assert!(index.contains(&format!("href=\"/errors/{}\"", row.name)), "{}", row.name);
        }
    }
}
