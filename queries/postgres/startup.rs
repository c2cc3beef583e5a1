//! Who may come in: whoever has the password, by any user's name.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Sink, SinkExt};
use pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::conversation::Conversation;
use super::failure::fatal;
use super::settings::SERVER_VERSION;
use crate::catalog::CATALOG;
use crate::doors::CONNECTIONS_MAX;

/// What a wrong password costs.
const WRONG_PAUSE: Duration = Duration::from_millis(500);

#[async_trait]
impl StartupHandler for Conversation {
    /// Whatever goes wrong here has to be fatal: pgwire goes on to queries after other errors.
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                if self.is_beyond() {
                    let message = format!("too many connections; at most {CONNECTIONS_MAX}");
                    return Err(fatal("53300", &message));
                }
                save_startup_parameters_to_metadata(client, &startup);
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                client.send(ask).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let password = message.into_password()?.password;
                if !self.admits(&password) {
                    tokio::time::sleep(WRONG_PAUSE).await;
                    return Err(fatal("28P01", "the password is not the admin token"));
                }
                // PostgreSQL's clients take the user's name if they are told no other.
                let database = client.metadata().get("database").or(client.metadata().get("user"));
                if database.is_none_or(|database| database != CATALOG) {
                    let message = format!("there is one database here, {CATALOG}");
                    return Err(fatal("3D000", &message));
                }
                self.admit(client);
                finish_authentication(client, &parameters()).await
            }
            _ => Err(fatal("08P01", "a password was expected")),
        }
    }
}

fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.server_version = SERVER_VERSION.into();
    parameters.time_zone = "UTC".into();
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters
}
