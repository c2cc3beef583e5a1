//! What can be done with accounts.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use log::Log;

use records::UserId;

use crate::clock::Clock;
use crate::email::Email;
use crate::entries::{ended, free_name, fresh, is_free, random_id, with_roles};
use crate::error::AccountError;
use crate::hashing::{HashError, Hasher};
use crate::name::{Name, folded};
use crate::password::{Password, PasswordHash};
use crate::session::Session;
use crate::store::{Users, View};
use crate::terms::{AccountsConfig, Caller, Issued, SignUp};
use crate::throttle::Throttle;
use crate::token::{Claims, Fetch, KeyRing, Providers, PublicKey, TokenError};
use crate::user::{Entry, Role, User};

/// The longest text that is looked for among names and addresses, in bytes.
const LOGIN_BYTES_MAX: usize = 320;

struct Shared {
    config: AccountsConfig,
    clock: Clock,
    users: Users,
    hasher: Hasher,
    throttle: Throttle,
    keys: KeyRing,
    providers: Providers,
}

/// The accounts; clones share them. Methods that are `async` need a tokio runtime.
#[derive(Clone)]
pub struct Accounts {
    shared: Arc<Shared>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accounts({} users)", self.count())
    }
}

impl Accounts {
    /// Reads what the log and the directory `data` hold; makes a key if there is none.
    ///
    /// # Errors
    /// [`AccountError::Log`], [`AccountError::Entry`], [`AccountError::Keys`],
    /// [`AccountError::Hash`] if its settings can't be used.
    pub async fn open(
        log: Arc<dyn Log>,
        data: &Path,
        config: AccountsConfig,
        clock: Clock,
        fetch: Option<Arc<dyn Fetch>>,
    ) -> Result<Self, AccountError> {
        let users = Users::load(log).await?;
        let (data, hash, now_us) = (data.to_owned(), config.hash, clock.now_us());
        let opened = tokio::task::spawn_blocking(move || {
            Ok::<_, AccountError>((KeyRing::open(&data, now_us)?, Hasher::new(hash)?))
        });
        let (keys, hasher) = opened.await.map_err(|_| AccountError::Interrupted)??;
        let throttle = Throttle::new(config.throttle);
        let providers = Providers::new(config.providers.clone(), fetch);
        let shared = Shared { config, clock, users, hasher, throttle, keys, providers };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A new account. Whether its name or address is taken is told, since it can't be hidden.
    ///
    /// # Errors
    /// What is wrong with what was said; [`AccountError::NameTaken`],
    /// [`AccountError::EmailTaken`], [`AccountError::Slow`],
    /// [`AccountError::Full`], [`AccountError::Hash`], [`AccountError::Log`].
    pub async fn sign_up(&self, said: SignUp, from: IpAddr) -> Result<User, AccountError> {
        let shared = &*self.shared;
        let name = Name::parse(&said.name)?;
        let email = Email::parse(&said.email)?;
        said.password.check(name.as_str(), Some(email.expose()))?;
        shared.throttle.sign_up(from, shared.clock.now_us()).map_err(AccountError::Slow)?;
        // Before the work; it is looked at again when it is this one's turn.
        let users_max = shared.config.users_max;
        shared.users.read(|view| is_free(view, name.as_str(), Some(&email), users_max))?;
        let password = shared.hasher.hash(&said.password).await?;
        let clock = shared.clock.clone();
        let entry = shared.users.change(move |view| {
            is_free(view, name.as_str(), Some(&email), users_max)?;
            let (name, email) = (name.as_str().to_owned(), Some(email));
            Ok(Entry { email, password: Some(password), ..fresh(name, clock.now_us()) })
        });
        Ok(entry.await?.shown())
    }

    /// A session for whoever knows the password. `login` is a name, in any
    /// case, or an e-mail address.
    ///
    /// An unknown user, another password and a disabled user get the same
    /// answer after the same work.
    ///
    /// # Errors
    /// [`AccountError::Wrong`], [`AccountError::Slow`], [`AccountError::Hash`],
    /// [`AccountError::Keys`].
    pub async fn log_in(
        &self,
        login: &str,
        password: &Password,
        from: IpAddr,
    ) -> Result<Issued, AccountError> {
        let shared = &*self.shared;
        let login = if login.len() > LOGIN_BYTES_MAX { "" } else { login };
        let entry = shared.users.read(|view| view.by_login(login).cloned());
        let entry = self.proven(&folded(login), entry, password, from).await?;
        let Some(hash) = &entry.password else { return Err(AccountError::Wrong) };
        if !shared.hasher.is_outdated(hash) {
            return self.issue(entry.user_id, Some(hash)).await;
        }
        let (id, old, new) = (entry.user_id, hash.clone(), shared.hasher.hash(password).await?);
        let entry = shared.users.change(move |view| {
            let entry = view.get(id).ok_or(AccountError::Unknown)?;
            // Unless somebody has changed it meanwhile.
            let is_same = entry.password.as_ref() == Some(&old);
            let password = if is_same { Some(new) } else { entry.password.clone() };
            Ok(Entry { password, ..(**entry).clone() })
        });
        let entry = entry.await?;
        self.issue(id, entry.password.as_ref()).await
    }

    /// A new password. Ends all sessions of the user; the one that is answered goes on.
    ///
    /// # Errors
    /// [`AccountError::Wrong`] if `old` isn't the password,
    /// [`AccountError::Password`] if `new` can't be one; [`AccountError::Token`],
    /// [`AccountError::Slow`], [`AccountError::Hash`], [`AccountError::Log`].
    pub async fn change_password(
        &self,
        session: &Session,
        old: &Password,
        new: &Password,
        from: IpAddr,
    ) -> Result<Issued, AccountError> {
        let shared = &*self.shared;
        let entry = self.current(session)?;
        new.check(&entry.name, entry.email.as_ref().map(Email::expose))?;
        let id = entry.user_id;
        let entry = self.proven(&format!("change {id}"), Some(entry), old, from).await?;
        let hash = shared.hasher.hash(new).await?;
        let (clock, fresh) = (shared.clock.clone(), hash.clone());
        shared
            .users
            .change(move |view| {
                let known = view.get(id).ok_or(AccountError::Unknown)?;
                if known.password != entry.password {
                    return Err(AccountError::Wrong);
                }
                Ok(Entry { password: Some(fresh), ..ended(known, &clock) })
            })
            .await?;
        self.issue(id, Some(&hash)).await
    }

    /// Ends all sessions of the user, this one included.
    ///
    /// # Errors
    /// [`AccountError::Token`] if this one is over already; [`AccountError::Log`].
    pub async fn log_out_everywhere(&self, session: &Session) -> Result<(), AccountError> {
        self.current(session)?;
        let clock = self.shared.clock.clone();
        self.update(session.user_id, move |entry| Ok(ended(entry, &clock))).await.map(drop)
    }

    /// The user has these roles from now on, besides [`Role::Viewer`].
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] unless an admin asks;
    /// [`AccountError::TooManyRoles`], [`AccountError::Unknown`],
    /// [`AccountError::Token`], [`AccountError::Log`].
    pub async fn set_roles(
        &self,
        by: Caller<'_>,
        user: UserId,
        roles: BTreeSet<Role>,
    ) -> Result<User, AccountError> {
        self.admin(by)?;
        self.update(user, move |entry| with_roles(entry, roles)).await
    }

    /// Whether the user moderates the channel from now on.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] unless the channel's streamer or an admin
    /// asks; as [`Accounts::set_roles`].
    pub async fn set_moderator(
        &self,
        by: Caller<'_>,
        channel: UserId,
        user: UserId,
        moderates: bool,
    ) -> Result<User, AccountError> {
        if let Caller::User(session) = by {
            let entry = self.current(session)?;
            let is_own = channel == entry.user_id && entry.roles.contains(&Role::Streamer);
            if !is_own && !entry.roles.contains(&Role::Admin) {
                return Err(AccountError::Forbidden("streamer of this channel"));
            }
        }
        self.update(user, move |entry| {
            let mut roles = entry.roles.clone();
            match moderates {
                true => roles.insert(Role::Moderator(channel)),
                false => roles.remove(&Role::Moderator(channel)),
            };
            with_roles(entry, roles)
        })
        .await
    }

    /// Whether the user is locked out from now on. Ends its sessions.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] unless an admin asks;
    /// [`AccountError::Unknown`], [`AccountError::Token`], [`AccountError::Log`].
    pub async fn set_disabled(
        &self,
        by: Caller<'_>,
        user: UserId,
        disabled: bool,
    ) -> Result<User, AccountError> {
        self.admin(by)?;
        let clock = self.shared.clock.clone();
        self.update(user, move |entry| Ok(Entry { disabled, ..ended(entry, &clock) })).await
    }

    /// The user.
    #[must_use]
    pub fn get(&self, id: UserId) -> Option<User> {
        self.shared.users.get(id).map(|entry| entry.shown())
    }

    /// The user of this name, in any case, or of this e-mail address.
    #[must_use]
    pub fn find(&self, login: &str) -> Option<User> {
        if login.len() > LOGIN_BYTES_MAX {
            return None;
        }
        self.shared.users.read(|view| view.by_login(login).map(|entry| entry.shown()))
    }

    /// How many accounts there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.users.read(View::len)
    }

    /// Passwords hashed since the start.
    #[must_use]
    pub fn hashings_total(&self) -> u64 {
        self.shared.hasher.done()
    }

    /// By what others can check our tokens.
    #[must_use]
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.shared.keys.published(self.shared.clock.now_us())
    }

    /// Who the bearer of this token of ours is. Costs a signature check, some
    /// 100 µs.
    ///
    /// # Errors
    /// [`TokenError`], other than [`TokenError::Provider`].
    pub fn verify(&self, token: &str) -> Result<Session, TokenError> {
        let Shared { config, clock, users, keys, .. } = &*self.shared;
        let leeway_s = config.leeway.as_secs();
        let claims = keys.verify(token, &config.issuer, clock.now_us(), leeway_s)?;
        let entry = users.get(claims.sub).ok_or(TokenError::Ended)?;
        let expires_at_us = claims.exp.saturating_mul(1_000_000);
        open(&entry, claims.iat_us)?;
        Ok(Session::of(&entry, claims.iat_us, expires_at_us))
    }

    /// Who the bearer of this token is, be it ours or an identity provider's.
    /// Whoever comes from there for the first time gets an account, under the
    /// name they have there if it is free.
    ///
    /// # Errors
    /// [`AccountError::Token`]; for newcomers [`AccountError::Full`],
    /// [`AccountError::Log`].
    pub async fn authenticate(&self, token: &str) -> Result<Session, AccountError> {
        let Shared { config, clock, users, providers, .. } = &*self.shared;
        let verified = self.verify(token);
        if providers.is_empty() || verified != Err(TokenError::Invalid) {
            return Ok(verified?);
        }
        let claimed = providers.verify(token, clock.now_us(), config.leeway.as_secs()).await?;
        let (issued_at_us, expires_at_us) =
            (claimed.iat.saturating_mul(1_000_000), claimed.exp.saturating_mul(1_000_000));
        let known = users.read(|view| view.by_external(&claimed.external).cloned());
        let entry = match known {
            Some(entry) => entry,
            None => {
                let (clock, users_max) = (clock.clone(), config.users_max);
                users
                    .change(move |view| {
                        if let Some(entry) = view.by_external(&claimed.external) {
                            return Ok((**entry).clone());
                        }
                        let name = free_name(view, claimed.name.as_deref());
                        is_free(view, &name, None, users_max)?;
                        let external = Some(claimed.external);
                        Ok(Entry { external, ..fresh(name, clock.now_us()) })
                    })
                    .await?
            }
        };
        open(&entry, issued_at_us)?;
        Ok(Session::of(&entry, issued_at_us, expires_at_us))
    }

    /// Whether the session still is one. A look into memory: sockets may ask for every message.
    #[must_use]
    pub fn is_valid(&self, session: &Session) -> bool {
        self.current(session).is_ok()
    }

    /// What is to be done now and then, once an hour, say: a new key, if the
    /// present one is old enough.
    ///
    /// # Errors
    /// [`AccountError::Keys`]; the present key goes on signing.
    pub async fn maintain(&self) -> Result<(), AccountError> {
        let Shared { config, clock, keys, .. } = &*self.shared;
        let due_us = keys.newest_at_us() + config.rotate_every.as_micros() as u64;
        match clock.now_us() < due_us {
            true => Ok(()),
            false => self.rotate_keys().await,
        }
    }

    /// A new key signs from now on; sessions go on until their time is over.
    ///
    /// # Errors
    /// [`AccountError::Keys`]; the present key goes on signing.
    pub async fn rotate_keys(&self) -> Result<(), AccountError> {
        let shared = Arc::clone(&self.shared);
        let rotated = tokio::task::spawn_blocking(move || {
            shared.keys.rotate(shared.clock.now_us(), shared.config.session_life)
        });
        Ok(rotated.await.map_err(|_| AccountError::Interrupted)??)
    }

    /// The user, if the password is theirs: one hashing, whatever comes out.
    async fn proven(
        &self,
        account: &str,
        entry: Option<Arc<Entry>>,
        password: &Password,
        from: IpAddr,
    ) -> Result<Arc<Entry>, AccountError> {
        let Shared { clock, hasher, throttle, .. } = &*self.shared;
        let ticket = throttle.admit(account, from, clock.now_us()).map_err(AccountError::Slow)?;
        let hash = entry.as_ref().and_then(|entry| entry.password.as_ref());
        let is_right = match hasher.verify(password, hash).await {
            Ok(is_right) => is_right,
            Err(error) => {
                if matches!(error, HashError::Busy) {
                    throttle.refund(ticket);
                }
                return Err(error.into());
            }
        };
        let entry = entry.filter(|entry| is_right && !entry.disabled).ok_or(AccountError::Wrong)?;
        throttle.succeeded(ticket);
        Ok(entry)
    }

    /// A session of the user, if `proof` still is their password.
    async fn issue(
        &self,
        user: UserId,
        proof: Option<&PasswordHash>,
    ) -> Result<Issued, AccountError> {
        let Shared { config, clock, users, keys, .. } = &*self.shared;
        // A password that changes meanwhile ends this session, too: the time is
        // taken while no change of the user is between its time and its effect.
        let settled = users.settled(user, |view| (view.get(user).cloned(), clock.now_us()));
        let (entry, now_us) = settled.await;
        let entry = entry
            .filter(|entry| !entry.disabled && entry.password.as_ref() == proof)
            .ok_or(AccountError::Wrong)?;
        let iat_us = now_us.max(entry.sessions_valid_from_us);
        let exp = iat_us / 1_000_000 + config.session_life.as_secs();
        let claims = Claims {
            iss: config.issuer.clone(),
            sub: user,
            roles: entry.roles(),
            iat: iat_us / 1_000_000,
            iat_us,
            nbf: None,
            exp,
            jti: random_id()?,
        };
        let token = keys.sign(&claims)?;
        Ok(Issued { token, user: entry.shown(), expires_at_us: exp * 1_000_000 })
    }

    /// The session's user as it is now, if the session isn't over.
    fn current(&self, session: &Session) -> Result<Arc<Entry>, TokenError> {
        let Shared { config, clock, users, .. } = &*self.shared;
        let leeway_us = config.leeway.as_secs() * 1_000_000;
        if session.expires_at_us.saturating_add(leeway_us) <= clock.now_us() {
            return Err(TokenError::Expired);
        }
        let entry = users.get(session.user_id).ok_or(TokenError::Ended)?;
        open(&entry, session.issued_at_us)?;
        Ok(entry)
    }

    fn admin(&self, by: Caller<'_>) -> Result<(), AccountError> {
        let Caller::User(session) = by else { return Ok(()) };
        match self.current(session)?.roles.contains(&Role::Admin) {
            true => Ok(()),
            false => Err(AccountError::Forbidden("admin")),
        }
    }

    async fn update(
        &self,
        user: UserId,
        change: impl FnOnce(&Entry) -> Result<Entry, AccountError> + Send + 'static,
    ) -> Result<User, AccountError> {
        let changed = self
            .shared
            .users
            .change(move |view| change(view.get(user).ok_or(AccountError::Unknown)?));
        Ok(changed.await?.shown())
    }
}

/// Whether a session of the user that began then goes on.
fn open(entry: &Entry, issued_at_us: u64) -> Result<(), TokenError> {
    match entry.disabled || issued_at_us < entry.sessions_valid_from_us {
        true => Err(TokenError::Ended),
        false => Ok(()),
    }
}
