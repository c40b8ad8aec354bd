//! One profile on top of another, as `extends` says.

use super::spec::{
    ConcurrencySpec, CostSpec, DefaultsSpec, NativeSpec, ProfileSpec, SecretsSpec, Table, WebsocketSpec,
};

impl ProfileSpec {
    /// Merges this profile over `base`: lists here come first, tables are merged and these rows win.
    #[must_use]
    pub fn over(self, base: &ProfileSpec) -> ProfileSpec {
        fn lists<T: Clone>(mut mine: Vec<T>, base: &[T]) -> Vec<T> {
            mine.extend_from_slice(base);
            mine
        }
        fn tables<T: Clone>(mine: Table<T>, base: &Table<T>) -> Table<T> {
            let mut merged = base.clone();
            merged.extend(mine);
            merged
        }
        fn tables_of<T: Clone>(mine: Table<Table<T>>, base: &Table<Table<T>>) -> Table<Table<T>> {
            let mut all = base.clone();
            for (name, table) in mine {
                let merged = tables(table, all.get(&name).unwrap_or(&Table::new()));
                let _ = all.insert(name, merged);
            }
            all
        }
        ProfileSpec {
            extends: None,
            parts: Vec::new(),
            errors: lists(self.errors, &base.errors),
            code: lists(self.code, &base.code),
            kind: lists(self.kind, &base.kind),
            title: lists(self.title, &base.title),
            message: lists(self.message, &base.message),
            status: lists(self.status, &base.status),
            close: lists(self.close, &base.close),
            request_id: lists(self.request_id, &base.request_id),
            param: lists(self.param, &base.param),
            doc_url: lists(self.doc_url, &base.doc_url),
            retry_after: lists(self.retry_after, &base.retry_after),
            retryable: lists(self.retryable, &base.retryable),
            context_id: lists(self.context_id, &base.context_id),
            done: lists(self.done, &base.done),
            details: tables(self.details, &base.details),
            validation: lists(self.validation, &base.validation),
            codes: tables(self.codes, &base.codes),
            spaces: tables_of(self.spaces, &base.spaces),
            rules: lists(self.rules, &base.rules),
            streams: lists(self.streams, &base.streams),
            generations: lists(self.generations, &base.generations),
            clients: lists(self.clients, &base.clients),
            codecs: lists(self.codecs, &base.codecs),
            rewrite: lists(self.rewrite, &base.rewrite),
            url_headers: lists(self.url_headers, &base.url_headers),
            secrets: SecretsSpec {
                headers: lists(self.secrets.headers, &base.secrets.headers),
                query: lists(self.secrets.query, &base.secrets.query),
                subprotocols: lists(self.secrets.subprotocols, &base.secrets.subprotocols),
                subprotocol_pairs: lists(self.secrets.subprotocol_pairs, &base.secrets.subprotocol_pairs),
                messages: lists(self.secrets.messages, &base.secrets.messages),
                first_messages: lists(self.secrets.first_messages, &base.secrets.first_messages),
            },
            concurrency: ConcurrencySpec {
                unit: self.concurrency.unit.or(base.concurrency.unit),
                limit_header: self.concurrency.limit_header.or_else(|| base.concurrency.limit_header.clone()),
                current_header: self.concurrency.current_header.or_else(|| base.concurrency.current_header.clone()),
            },
            websocket: WebsocketSpec {
                answers_pings: self.websocket.answers_pings.or(base.websocket.answers_pings),
                keep_alive: lists(self.websocket.keep_alive, &base.websocket.keep_alive),
                redial: lists(self.websocket.redial, &base.websocket.redial),
                idle: self.websocket.idle.or_else(|| base.websocket.idle.clone()),
                drain: self.websocket.drain.or_else(|| base.websocket.drain.clone()),
            },
            cost: CostSpec {
                text: lists(self.cost.text, &base.cost.text),
                characters: self.cost.characters.or(base.cost.characters),
                tags: self.cost.tags.or(base.cost.tags),
                ideographs: self.cost.ideographs.or(base.cost.ideographs),
                failed: self.cost.failed.or(base.cost.failed),
            },
            defaults: DefaultsSpec {
                response: self.defaults.response.or_else(|| base.defaults.response.clone()),
                max_request_body: self.defaults.max_request_body.or_else(|| base.defaults.max_request_body.clone()),
                idle_limit: self.defaults.idle_limit.or_else(|| base.defaults.idle_limit.clone()),
            },
            native: NativeSpec {
                http: self.native.http.or_else(|| base.native.http.clone()),
                sse: self.native.sse.or_else(|| base.native.sse.clone()),
                ndjson: self.native.ndjson.or_else(|| base.native.ndjson.clone()),
                frame: self.native.frame.or_else(|| base.native.frame.clone()),
                closing: self.native.closing.or_else(|| base.native.closing.clone()),
                refusal: self.native.refusal.or_else(|| base.native.refusal.clone()),
                codes: tables(self.native.codes, &base.native.codes),
                types: tables(self.native.types, &base.native.types),
                statuses: tables(self.native.statuses, &base.native.statuses),
                words: tables_of(self.native.words, &base.native.words),
                canonical_status: lists(self.native.canonical_status, &base.native.canonical_status),
            },
        }
    }
}
