//! Who may call: whoever brings the token, as a bearer or as a password.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::doors::Admits;

/// Arrow's Go client, which ADBC is made of, leaves the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Stands before every call, the handshake among them.
#[derive(Clone)]
pub(super) struct Gate(Admits);

impl Gate {
    pub(super) fn new(admits: Admits) -> Self {
        Self(admits)
    }
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if (self.0)(&token(request.metadata())?) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the token is not the admin token"))
        }
    }
}

/// The token that a call brings: its bearer's, or the password of any user.
pub(super) fn token(metadata: &MetadataMap) -> Result<String, Status> {
    let header = metadata.get("authorization").and_then(|header| header.to_str().ok());
    let (scheme, credentials) =
        header.and_then(|header| header.split_once(' ')).unwrap_or_default();
    let password = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(credentials.to_owned()),
        "basic" => BASE64.decode(credentials).ok().and_then(|pair| {
            let pair = String::from_utf8(pair).ok()?;
            pair.split_once(':').map(|(_, password)| password.to_owned())
        }),
        _ => None,
    };
    password.ok_or_else(|| {
        Status::unauthenticated("bring the admin token, as a bearer or as the password of any user")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn enters(header: Option<&str>) -> bool {
        let mut request = Request::new(());
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        Gate::new(Arc::new(|token| token == "right")).call(request).is_ok()
    }

    #[test]
    fn only_the_token_enters() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        assert!(enters(Some("Bearer right")));
        assert!(enters(Some("bearer right")));
        for header in [basic("anybody:right"), basic("any:right")] {
            assert!(enters(Some(&header)), "{header}");
            assert!(enters(Some(header.trim_end_matches('='))), "{header}");
        }
        assert!(!enters(None));
        for header in ["right", "Bearer", "Bearer ", "Bearer wrong", "Basic right", "Digest right"]
        {
            assert!(!enters(Some(header)), "{header}");
        }
        for pair in ["right", "right:", ":", "right:wrong", "a:b:right"] {
            assert!(!enters(Some(&basic(pair))), "{pair}");
        }
    }
}
