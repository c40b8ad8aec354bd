//! A compiled provider profile.

use super::spec::ProfileSpec;

/// A provider's failures, ready to be asked.
#[derive(Debug)]
pub struct Profile {
    name: String,
    spec: ProfileSpec,
}

/// Something in a profile that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileProblem {
    /// The key path inside the profile: `rules[3].message`, `codes.X.code`.
    pub path: String,
    /// What is wrong and what was expected, in one sentence.
    pub problem: String,
}

impl Profile {
    /// Compiles a profile; `spec` has its bases merged in already.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn compile(name: &str, spec: ProfileSpec) -> Result<Profile, Vec<ProfileProblem>> {
        Ok(Profile { name: name.to_owned(), spec })
    }

    /// The provider's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile as it was written, bases merged in.
    #[must_use]
    pub fn spec(&self) -> &ProfileSpec {
        &self.spec
    }
}

impl ProfileSpec {
    /// This profile on top of `base`: lists here are asked first, tables are merged and these rows win.
    #[must_use]
    pub fn over(self, base: &ProfileSpec) -> ProfileSpec {
        let _ = base;
        self
    }
}
