//! The configuration file, version 1, as it is written: nothing here is checked beyond its shape.

use serde::Deserialize;
use toml::Spanned;

/// A value together with the bytes of the file that it came from, so that an error can name its line.
pub(super) type At<T> = Spanned<T>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// Always `"v1"`.
    pub(super) version: At<String>,
    pub(super) gateway: Gateway,
    #[serde(default)]
    pub(super) smtp: Smtp,
    pub(super) http: Http,
    #[serde(default)]
    pub(super) api: Api,
    #[serde(default)]
    pub(super) inbound: Inbound,
    pub(super) canary: Option<At<Canary>>,
    #[serde(default)]
    pub(super) tell: Tell,
    #[serde(default)]
    pub(super) webhook: Vec<At<Webhook>>,
    pub(super) upstream: Option<At<Upstream>>,
    #[serde(default)]
    pub(super) route: Vec<At<Route>>,
    #[serde(default)]
    pub(super) dns: Dns,
    #[serde(default)]
    pub(super) mta_sts: MtaSts,
    #[serde(default)]
    pub(super) retry: Retry,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) store: Store,
    pub(super) fleet: Option<At<Fleet>>,
    #[serde(default)]
    pub(super) token: Token,
    #[serde(default)]
    pub(super) rules: Rules,
    #[serde(default)]
    pub(super) replies: Replies,
    #[serde(default)]
    pub(super) bounces: Bounces,
    #[serde(default)]
    pub(super) shaping: Shaping,
    #[serde(default)]
    pub(super) warmup: Vec<At<Warmup>>,
    #[serde(default)]
    pub(super) dkim: Vec<At<Dkim>>,
    #[serde(default)]
    pub(super) stream: Vec<At<Stream>>,
    #[serde(default)]
    pub(super) sender: Vec<At<Sender>>,
    #[serde(default)]
    pub(super) credential: Vec<At<Credential>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    pub(super) gateways: At<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) hostname: At<String>,
    pub(super) data_dir: At<String>,
    pub(super) log_addresses: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Smtp {
    pub(super) listen: Option<At<Vec<At<String>>>>,
    pub(super) max_message_octets: Option<At<u64>>,
    pub(super) max_recipients: Option<At<u64>>,
    pub(super) max_connections: Option<At<u64>>,
    pub(super) max_connections_per_address: Option<At<u64>>,
    pub(super) auth_without_tls: Option<bool>,
    pub(super) line_ends: Option<At<String>>,
    #[serde(default)]
    pub(super) listen_tls: Vec<At<String>>,
    #[serde(default)]
    pub(super) proxy_protocol_from: Vec<At<String>>,
    pub(super) max_memory_octets: Option<At<u64>>,
    pub(super) min_data_rate: Option<At<u64>>,
    #[serde(default)]
    pub(super) tls: Vec<At<Certificate>>,
    #[serde(default)]
    pub(super) rates: Rates,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) certificate: At<String>,
    pub(super) key: At<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rates {
    pub(super) credential_messages: Option<At<Rate>>,
    pub(super) credential_recipients: Option<At<Rate>>,
    pub(super) address_messages: Option<At<Rate>>,
    pub(super) address_recipients: Option<At<Rate>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) per_minute: u64,
    pub(super) burst: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<At<String>>,
    pub(super) public_url: At<String>,
    pub(super) mailto: At<String>,
    pub(super) trusted_proxies: Option<At<Vec<At<String>>>>,
    #[serde(default)]
    pub(super) tls: Vec<At<Certificate>>,
    pub(super) max_connections: Option<At<u64>>,
    pub(super) max_connections_per_address: Option<At<u64>>,
    pub(super) effect_bound: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub(super) listen: Option<At<String>>,
    #[serde(default)]
    pub(super) tls: Vec<At<Certificate>>,
    pub(super) requests_per_second: Option<At<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inbound {
    #[serde(default)]
    pub(super) listen: Vec<At<String>>,
    #[serde(default)]
    pub(super) also_mailboxes: Vec<At<String>>,
    pub(super) max_message_octets: Option<At<u64>>,
    pub(super) max_connections: Option<At<u64>>,
    pub(super) max_connections_per_address: Option<At<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tell {
    #[serde(default)]
    pub(super) networks: Vec<At<String>>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) keep: Option<At<String>>,
    pub(super) first: Option<At<String>>,
    pub(super) longest: Option<At<String>>,
    pub(super) give_up: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) name: At<String>,
    pub(super) url: At<String>,
    pub(super) secret_file: At<String>,
    #[serde(default)]
    pub(super) types: Vec<At<String>>,
    pub(super) stream: Option<At<String>>,
    pub(super) list: Option<At<String>>,
    pub(super) controller: Option<At<String>>,
    #[serde(default)]
    pub(super) networks: Vec<At<String>>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) timeout: Option<At<String>>,
    pub(super) first: Option<At<String>>,
    pub(super) longest: Option<At<String>>,
    pub(super) give_up: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) host: At<String>,
    pub(super) port: Option<At<u64>>,
    pub(super) max_connections: Option<At<u64>>,
    pub(super) tls: Option<At<String>>,
    pub(super) implicit_tls: Option<bool>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) user: Option<At<String>>,
    pub(super) password_file: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) name: At<String>,
    pub(super) kind: At<String>,
    #[serde(default)]
    pub(super) hosts: Vec<At<Smarthost>>,
    pub(super) port: Option<At<u64>>,
    pub(super) deliver_to_loopback: Option<bool>,
    pub(super) max_connections: Option<At<u64>>,
    pub(super) tls: Option<At<String>>,
    pub(super) implicit_tls: Option<bool>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) user: Option<At<String>>,
    pub(super) password_file: Option<At<String>>,
    pub(super) hello: Option<At<String>>,
    #[serde(default)]
    pub(super) sources: Vec<SourceAddress>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Smarthost {
    pub(super) host: At<String>,
    pub(super) port: Option<At<u64>>,
    pub(super) weight: Option<At<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceAddress {
    pub(super) address: At<String>,
    pub(super) hello: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    #[serde(default)]
    pub(super) servers: Vec<At<String>>,
    pub(super) trust_anchors: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MtaSts {
    pub(super) ca_file: Option<At<String>>,
    pub(super) port: Option<At<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) first: Option<At<String>>,
    pub(super) longest: Option<At<String>>,
    pub(super) give_up: Option<At<String>>,
    pub(super) warn_after: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) min_free_octets: Option<At<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) kind: Option<At<String>>,
    pub(super) addresses: Option<At<String>>,
    pub(super) key_file: Option<At<String>>,
    pub(super) redis: Option<At<Redis>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redis {
    pub(super) topology: Option<At<String>>,
    pub(super) servers: At<Vec<At<String>>>,
    pub(super) master: Option<At<String>>,
    pub(super) tls: Option<bool>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) user: Option<At<String>>,
    pub(super) password_file: Option<At<String>>,
    pub(super) database: Option<At<u64>>,
    pub(super) prefix: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) key_file: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) directory: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replies {
    pub(super) file: Option<At<String>>,
    pub(super) groups: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounces {
    pub(super) window: Option<At<String>>,
    pub(super) minimum: Option<At<u64>>,
    pub(super) share: Option<At<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shaping {
    pub(super) file: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Warmup {
    pub(super) name: At<String>,
    pub(super) source: Option<At<String>>,
    pub(super) domain: Option<At<String>>,
    pub(super) start: At<String>,
    pub(super) caps: At<Vec<u64>>,
    pub(super) factor: Option<At<f64>>,
    pub(super) instead: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dkim {
    pub(super) name: At<String>,
    pub(super) domain: At<String>,
    pub(super) selector: At<String>,
    pub(super) key_file: At<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    pub(super) name: At<String>,
    pub(super) controller: At<String>,
    pub(super) class: At<String>,
    pub(super) list: Option<At<String>>,
    #[serde(default)]
    pub(super) also_lists: Vec<At<String>>,
    #[serde(default)]
    pub(super) from_domains: Vec<At<String>>,
    #[serde(default)]
    pub(super) mail_from_domains: Vec<At<String>>,
    pub(super) on_refusal: Option<At<String>>,
    pub(super) existing_unsubscribe: Option<At<String>>,
    pub(super) body_link: Option<At<String>>,
    #[serde(default)]
    pub(super) tell_hosts: Vec<At<String>>,
    pub(super) opt_out_receipts: Option<At<String>>,
    pub(super) remember_messages: Option<At<String>>,
    #[serde(default)]
    pub(super) dkim: Vec<At<String>>,
    pub(super) one_click_scope: Option<At<String>>,
    pub(super) list_domain: Option<At<String>>,
    pub(super) feedback_sender_id: Option<At<String>>,
    pub(super) brand: Option<At<String>>,
    pub(super) postal_address: Option<At<String>>,
    pub(super) establishment: Option<At<String>>,
    pub(super) default_country: Option<At<String>>,
    pub(super) sector: Option<At<String>>,
    #[serde(default)]
    pub(super) topics: Vec<At<String>>,
    pub(super) product_family: Option<At<String>>,
    pub(super) asserted_basis: Option<At<String>>,
    pub(super) asserted_since: Option<At<String>>,
    pub(super) enforcement: Option<At<String>>,
    pub(super) assume_class: Option<bool>,
    pub(super) count_free_accounts: Option<bool>,
    pub(super) route: Option<At<String>>,
    pub(super) priority: Option<At<String>>,
    pub(super) weight: Option<At<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Canary {
    pub(super) address: At<String>,
    pub(super) returns_to: Option<At<String>>,
    pub(super) from: At<String>,
    pub(super) stream: At<String>,
    pub(super) every: Option<At<String>>,
    pub(super) lost_after: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sender {
    pub(super) controller: At<String>,
    pub(super) name: Option<At<String>>,
    pub(super) logo_text: Option<At<String>>,
    pub(super) colour: Option<At<String>>,
    pub(super) contact: Option<At<String>>,
    pub(super) imprint: Option<At<String>>,
    pub(super) from: Option<At<String>>,
    pub(super) confirm_within: Option<At<String>>,
    #[serde(default)]
    pub(super) list: Vec<At<SenderList>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SenderList {
    pub(super) name: At<String>,
    pub(super) title: At<String>,
    pub(super) about: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credential {
    pub(super) name: At<String>,
    pub(super) stream: At<String>,
    pub(super) password_hash: Option<At<String>>,
    pub(super) token_sha256: Option<At<String>>,
    pub(super) scram_sha256: Option<At<String>>,
    pub(super) client_certificate_sha256: Option<At<String>>,
    pub(super) addresses: Option<At<Vec<At<String>>>>,
}
