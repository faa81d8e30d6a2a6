//! Trust: a key, and for whose tokens it counts.

use super::public_key::PublicKey;
use super::token::Token;

/// A key that counts for one issuer. Two issuers may use the same `kid`; they never share a key.
pub(super) struct Trusted {
    /// Whose tokens; absent = of anyone, which only settings without an issuer say.
    pub(super) issuer: Option<Box<str>>,
    /// What those tokens call it; absent = whatever they call it.
    pub(super) kid: Option<Box<str>>,
    pub(super) key: PublicKey,
}

impl Trusted {
    /// Whether `token` is its issuer's, and signed with this key. The key says the algorithm; the token's
    /// own word only picks among keys.
    pub(super) fn vouches_for(&self, token: &Token<'_>) -> bool {
        let issuer = self.issuer.is_none() || self.issuer.as_deref() == token.issuer.as_deref();
        let kid = match (&self.kid, &token.kid) {
            (Some(ours), Some(theirs)) => **ours == **theirs,
            (None, _) | (_, None) => true,
        };
        issuer
            && kid
            && self.key.alg() == token.alg
            && self.key.verifies(token.message, token.signature)
    }
}
