//! Reads the names of a client from its certificate. The TLS handshake has verified the certificate already.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// DER tags that occur in a name (X.690 8.1.2): a sequence, a set, an attribute's identifier, and the kinds of text.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// `commonName`: 2.5.4.3 (RFC 5280 appendix A).
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The URIs and DNS names among the subject alternative names, DNS names in lower case. If there are none, the common name,
/// provided there is exactly one. A common name beside alternative names is ignored, because nothing verifies it any more (RFC
/// 9525 2).
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let uris = certificate.valid_uri_names().map(str::to_owned);
    let mut names: Vec<String> = uris.chain(certificate.valid_dns_names().map(str::to_ascii_lowercase)).collect();
    if names.is_empty() {
        let mut common = common_names(certificate.subject());
        names.extend(common.pop().filter(|_| common.is_empty()));
    }
    names
}

/// The common names in a subject, which is a list of sets of pairs of attribute type and text.
fn common_names(mut subject: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((SET, mut set, rest)) = element(subject) {
        subject = rest;
        while let Some((SEQUENCE, pair, rest)) = element(set) {
            set = rest;
            let Some((OBJECT_IDENTIFIER, number, value)) = element(pair) else { continue };
            let text = element(value).filter(|(tag, _, _)| number == COMMON_NAME && TEXTS.contains(tag));
            found.extend(text.and_then(|(_, text, _)| Some(std::str::from_utf8(text).ok()?.to_owned())));
        }
    }
    found
}

/// Splits off the first DER element: its tag, its content, and the remaining bytes.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No name needs more than two bytes for its length.
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn named(common: &[&str], others: Vec<SanType>) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "an organization");
        common.iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, *name));
        params.subject_alt_names = others;
        let key = KeyPair::generate().expect("a key");
        names(params.self_signed(&key).expect("a certificate").der())
    }

    #[test]
    fn alternative_names_take_precedence_over_the_common_name() {
        let uri = || SanType::URI("spiffe://prod/app".try_into().expect("a URI"));
        let dns = || SanType::DnsName("App.Internal".try_into().expect("a name"));
        let address = || SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(named(&["cn"], vec![uri(), dns()]), ["spiffe://prod/app", "app.internal"]);
        assert_eq!(named(&["cn"], vec![dns()]), ["app.internal"]);
        assert_eq!(named(&["cn"], vec![address()]), ["cn"]);
        assert_eq!(named(&["b\u{fc}ro"], vec![]), ["b\u{fc}ro"]);
        assert!(named(&[], vec![]).is_empty());
        let long = "x".repeat(300);
        assert_eq!(named(&[&long], vec![]), [long]);
    }

    #[test]
    fn malformed_subjects_have_no_names() {
        for bytes in [
            &b""[..],
            &[0x31],
            &[0x31, 0x05, 0x30],
            &[0x31, 0x80],
            &[0x31, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x31, 0x02, 0x30, 0x00],
            &[0x31, 0x07, 0x30, 0x05, 0x06, 0x03, 0x55, 0x04, 0x03],
            &[0x31, 0x0a, 0x30, 0x08, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 0xff],
        ] {
            assert!(common_names(bytes).is_empty(), "{bytes:?}");
        }
    }
}
