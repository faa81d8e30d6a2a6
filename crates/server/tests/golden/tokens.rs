//! Tokens that no honest server gives out.

use serde_json::json;

use tertulia_proof::issuer::{Issuer, now_s};

/// A token of `user` that ends `ends_in_s` from now, signed with `secret`.
pub(crate) fn sign(secret: &str, user: &str, ends_in_s: i64) -> String {
    let exp = now_s().cast_signed() + ends_in_s;
    Issuer::shared(secret).token(&json!({"sub": user, "iat": exp - 3600, "exp": exp}))
}
