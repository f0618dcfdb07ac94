//! Every name that llmtap emits, and where it comes from: attributes here, metrics in [`metric`]. No other module spells
//! one out; `docs/registry.yaml` says of each what it means.

pub mod metric;
mod release;

pub use release::{RENAMED, Release};

/// Where a name is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The OpenTelemetry semantic conventions, core release 1.41.1.
    Core,
    /// The additive names of the newer `semantic-conventions-genai` repository.
    Newer,
    /// llmtap's own, or (the cost alias) a name that back ends read although no convention has it.
    Own,
}

/// Schema that the [`Origin::Core`] names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.1";

/// Instrumentation scope of every span.
pub const SCOPE_NAME: &str = "llmtap";
/// Name of the event that tells a call's content apart from its span.
pub const DETAILS_EVENT: &str = "gen_ai.client.inference.operation.details";
pub const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");

macro_rules! names {
    ($($(#[$doc:meta])* $origin:ident $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*

        /// All names with their origin, for the registry and for tests.
        pub const ALL: &[(&str, Origin)] = &[$(($name, Origin::$origin),)*];
    };
}

names! {
    Core OPERATION_NAME = "gen_ai.operation.name";
    Core PROVIDER_NAME = "gen_ai.provider.name";
    Core REQUEST_MODEL = "gen_ai.request.model";
    Core REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens";
    Core REQUEST_TEMPERATURE = "gen_ai.request.temperature";
    Core REQUEST_TOP_P = "gen_ai.request.top_p";
    Core REQUEST_TOP_K = "gen_ai.request.top_k";
    Core REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty";
    Core REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty";
    Core REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences";
    Core REQUEST_SEED = "gen_ai.request.seed";
    Core REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count";
    Core REQUEST_STREAM = "gen_ai.request.stream";
    Newer REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level";
    Newer REQUEST_PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id";
    Core OUTPUT_TYPE = "gen_ai.output.type";
    Core USER_ID = "user.id";
    Core SESSION_ID = "session.id";
    Core CONVERSATION_ID = "gen_ai.conversation.id";
    Core EMBEDDINGS_DIMENSION_COUNT = "gen_ai.embeddings.dimension.count";

    Core RESPONSE_ID = "gen_ai.response.id";
    Core RESPONSE_MODEL = "gen_ai.response.model";
    Core RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons";
    /// Seconds from the start of the span to the first data event of the stream.
    Core RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk";
    Core USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens";
    Core USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    Core USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    Core USAGE_CACHE_CREATION_INPUT_TOKENS = "gen_ai.usage.cache_creation.input_tokens";
    Core USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens";
    /// What [`Release::Next`] calls [`USAGE_CACHE_CREATION_INPUT_TOKENS`].
    Newer USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens";
    /// Parts of the tokens by kind of content, under [`Release::Next`] only.
    Newer USAGE_TEXT_INPUT_TOKENS = "gen_ai.usage.text.input_tokens";
    Newer USAGE_AUDIO_INPUT_TOKENS = "gen_ai.usage.audio.input_tokens";
    Newer USAGE_IMAGE_INPUT_TOKENS = "gen_ai.usage.image.input_tokens";
    Newer USAGE_TEXT_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.text.cache_read.input_tokens";
    Newer USAGE_AUDIO_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.audio.cache_read.input_tokens";
    Newer USAGE_IMAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.image.cache_read.input_tokens";
    Newer USAGE_TEXT_OUTPUT_TOKENS = "gen_ai.usage.text.output_tokens";
    Newer USAGE_AUDIO_OUTPUT_TOKENS = "gen_ai.usage.audio.output_tokens";
    Newer USAGE_IMAGE_OUTPUT_TOKENS = "gen_ai.usage.image.output_tokens";
    /// Repeats [`COST_TOTAL`]: the one alias that most back ends read.
    Own USAGE_COST = "gen_ai.usage.cost";

    Core TOOL_NAME = "gen_ai.tool.name";
    Core TOOL_CALL_ID = "gen_ai.tool.call.id";

    /// JSON texts, as are the three below it: only when contents are captured.
    Core SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions";
    Core INPUT_MESSAGES = "gen_ai.input.messages";
    Core OUTPUT_MESSAGES = "gen_ai.output.messages";
    Core TOOL_DEFINITIONS = "gen_ai.tool.definitions";
    /// Bytes of content that caps left out, about; absent when none.
    Own CONTENT_LEFT_OUT = "llmtap.content.left_out";

    Core PROMPT_NAME = "gen_ai.prompt.name";
    Core DATA_SOURCE_ID = "gen_ai.data_source.id";
    /// Documents asked for.
    Newer RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k";

    Core MCP_METHOD_NAME = "mcp.method.name";
    Core MCP_PROTOCOL_VERSION = "mcp.protocol.version";
    Core MCP_SESSION_ID = "mcp.session.id";
    Core MCP_RESOURCE_URI = "mcp.resource.uri";
    Core JSONRPC_REQUEST_ID = "jsonrpc.request.id";
    /// Code of a JSON-RPC error.
    Core RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code";

    Core DB_SYSTEM_NAME = "db.system.name";
    Core DB_OPERATION_NAME = "db.operation.name";
    Core DB_COLLECTION_NAME = "db.collection.name";
    Core DB_NAMESPACE = "db.namespace";
    /// Documents returned.
    Core DB_RESPONSE_RETURNED_ROWS = "db.response.returned_rows";
    Core DB_RESPONSE_STATUS_CODE = "db.response.status_code";

    Core OPENAI_API_TYPE = "openai.api.type";
    Core OPENAI_REQUEST_SERVICE_TIER = "openai.request.service_tier";
    Core OPENAI_RESPONSE_SERVICE_TIER = "openai.response.service_tier";
    Core OPENAI_RESPONSE_SYSTEM_FINGERPRINT = "openai.response.system_fingerprint";

    Core AWS_BEDROCK_GUARDRAIL_ID = "aws.bedrock.guardrail.id";

    Core SERVER_ADDRESS = "server.address";
    Core SERVER_PORT = "server.port";
    Core HTTP_RESPONSE_STATUS_CODE = "http.response.status_code";
    Core NETWORK_TRANSPORT = "network.transport";
    Core NETWORK_PROTOCOL_NAME = "network.protocol.name";
    Core NETWORK_PROTOCOL_VERSION = "network.protocol.version";
    Core ERROR_TYPE = "error.type";

    Own COST_TOTAL = "llmtap.cost.total";
    Own COST_INPUT = "llmtap.cost.input";
    Own COST_OUTPUT = "llmtap.cost.output";
    Own COST_CACHE_READ = "llmtap.cost.cache_read";
    Own COST_CACHE_WRITE = "llmtap.cost.cache_write";
    /// `provider`, `table`, `override` or `list_price`.
    Own COST_SOURCE = "llmtap.cost.source";
    /// ISO 4217 code; absent when costs are in USD.
    Own COST_CURRENCY = "llmtap.cost.currency";
    Own PRICE_VERSION = "llmtap.price.version";
    /// Seconds from the first to the last request byte.
    Own TIME_UPLOAD = "llmtap.time.upload";
    /// Seconds from the last request byte to the first response byte.
    Own TIME_WAIT = "llmtap.time.wait";
    /// Seconds from the last request byte to the first event that carries content.
    Own TIME_FIRST_TOKEN = "llmtap.time.first_token";
    /// Seconds from the first to the last event that carries content.
    Own TIME_GENERATION = "llmtap.time.generation";
    /// Data events of the stream.
    Own CHUNK_COUNT = "llmtap.chunk.count";
    /// Longest pause between neighbouring data events, in seconds.
    Own CHUNK_GAP_MAX = "llmtap.chunk.gap.max";
    Own CHUNK_GAP_P95 = "llmtap.chunk.gap.p95";
    Own TOKENS_PER_SECOND = "llmtap.tokens_per_second";
    Own SYSTEM_PROMPT_HASH = "llmtap.system_prompt.hash";
    Own TOOLS_COUNT = "llmtap.tools.count";
    Own MESSAGES_COUNT = "llmtap.messages.count";
    /// Names of the tool calls that the answer asks for; [`TOOL_CALLS_IDS`] stands beside it, `""` where a call has none.
    Own TOOL_CALLS_NAMES = "llmtap.tool_calls.names";
    Own TOOL_CALLS_IDS = "llmtap.tool_calls.ids";
    /// `full`, `partial` or `headers_only`.
    Own COMPLETENESS = "llmtap.completeness";
    Own LOST_BYTES = "llmtap.lost.bytes";
    Own ATTEMPT = "llmtap.attempt";
    /// `error.type` of the attempt before, on a call that repeats it.
    Own RETRY_REASON = "llmtap.retry.reason";
    /// Seconds from the start of the first attempt to the start of this one.
    Own RETRY_WASTED_TIME = "llmtap.retry.wasted_time";
    /// Cost of the attempts before, as far as it is known, by the currency of [`COST_TOTAL`].
    Own RETRY_WASTED_COST = "llmtap.retry.wasted_cost";
    Own ABORTED = "llmtap.aborted";
    Own RATELIMIT_REQUESTS_LIMIT = "llmtap.ratelimit.requests.limit";
    Own RATELIMIT_REQUESTS_REMAINING = "llmtap.ratelimit.requests.remaining";
    Own RATELIMIT_REQUESTS_RESET = "llmtap.ratelimit.requests.reset";
    Own RATELIMIT_TOKENS_LIMIT = "llmtap.ratelimit.tokens.limit";
    Own RATELIMIT_TOKENS_REMAINING = "llmtap.ratelimit.tokens.remaining";
    Own RATELIMIT_TOKENS_RESET = "llmtap.ratelimit.tokens.reset";
    Own PROVIDER_REQUEST_ID = "llmtap.provider.request_id";
    Own PROVIDER_PROCESSING_MS = "llmtap.provider.processing_ms";
    /// Whether the own cache of a gateway answered.
    Own CACHE_HIT = "llmtap.cache.hit";
    /// Whether a gateway went on to another model or service than the first one.
    Own FALLBACK = "llmtap.fallback";
    /// Mean of the natural logarithms of the probabilities of the answer's tokens: at most 0.
    Own RESPONSE_LOGPROB_MEAN = "llmtap.response.logprob.mean";
    /// Whom the call is for, by the rules of attribution.
    Own TENANT = "llmtap.tenant";
    /// The part of the traced program that asks, by the rules of attribution.
    Own FEATURE = "llmtap.feature";
    /// The id that the traced program gave to its request; the provider's is [`PROVIDER_REQUEST_ID`].
    Own CLIENT_REQUEST_ID = "llmtap.client.request_id";
    /// The process exports telemetry of its model calls itself: this call may be told twice.
    Own OWN_TELEMETRY = "llmtap.own_telemetry";
    Own CONNECTION_ID = "llmtap.connection.id";
    /// 0-based on its connection.
    Own EXCHANGE_INDEX = "llmtap.exchange.index";
    Own TLS_LIBRARY = "llmtap.tls.library";
    /// Why the service or the model gave no answer, in one word for all services.
    Own REFUSAL = "llmtap.refusal";
    /// Why the service did not take the call: `rate`, `quota` or `overload`.
    Own LIMIT_KIND = "llmtap.limit.kind";
    /// The service has not sent this system prompt to this model before, and has sent another one.
    Own SYSTEM_PROMPT_CHANGED = "llmtap.system_prompt.changed";
    /// Whether the answer keeps to the JSON schemas of its request.
    Own STRUCTURED_OUTPUT_VALID = "llmtap.structured_output.valid";
    /// Names of the rules that hit in the call's texts.
    Own OBSERVATION_RULES = "llmtap.observation.rules";
    /// Hits by place: each rule counts once for each text.
    Own OBSERVATION_SYSTEM = "llmtap.observation.system";
    Own OBSERVATION_PROMPT = "llmtap.observation.prompt";
    Own OBSERVATION_TOOL_RESULT = "llmtap.observation.tool_result";
    Own OBSERVATION_TOOL_DEFINITION = "llmtap.observation.tool_definition";
    Own OBSERVATION_ANSWER = "llmtap.observation.answer";
    /// The span was not seen on the wire but concluded from calls that were.
    Own SYNTHESIZED = "llmtap.synthesized";

    /// Of the metrics: `input` or `output`.
    Core TOKEN_TYPE = "gen_ai.token.type";
    /// One of the provider's own strings of [`RESPONSE_FINISH_REASONS`], to count by.
    Own FINISH_REASON = "llmtap.finish_reason";
    /// One of [`OBSERVATION_RULES`] and the place of its hit, to count by.
    Own OBSERVATION_RULE = "llmtap.observation.rule";
    Own OBSERVATION_PLACE = "llmtap.observation.place";
    /// `requests` or `tokens`.
    Own RATELIMIT_KIND = "llmtap.ratelimit.kind";
    /// What llmtap lost events by, or why it did not trace a connection or process: a short stable name.
    Own REASON = "llmtap.reason";
    /// The half of llmtap: `privileged` or `parser`.
    Own SELF_HALF = "llmtap.self.half";
    /// Stands alone on the sum of what a cap on the number of series left without one of its own.
    Core METRIC_OVERFLOW = "otel.metric.overflow";

    Core SERVICE_NAME = "service.name";
    Core SERVICE_NAMESPACE = "service.namespace";
    Core SERVICE_VERSION = "service.version";
    Core SERVICE_INSTANCE_ID = "service.instance.id";
    Core PROCESS_PID = "process.pid";
    Core PROCESS_EXECUTABLE_NAME = "process.executable.name";
    Core PROCESS_EXECUTABLE_PATH = "process.executable.path";
    Core PROCESS_COMMAND = "process.command";
    Core PROCESS_OWNER = "process.owner";
    Core HOST_NAME = "host.name";
    Core HOST_ID = "host.id";
    Core CONTAINER_ID = "container.id";
    Core CONTAINER_NAME = "container.name";
    Core CONTAINER_IMAGE_NAME = "container.image.name";
    Core CONTAINER_IMAGE_TAGS = "container.image.tags";
    /// A dot and the label's name follow.
    Core CONTAINER_LABEL = "container.label";
    Core CONTAINER_RUNTIME_NAME = "container.runtime.name";
    Core OCI_MANIFEST_DIGEST = "oci.manifest.digest";
    Core K8S_NAMESPACE_NAME = "k8s.namespace.name";
    Core K8S_NODE_NAME = "k8s.node.name";
    Core K8S_POD_UID = "k8s.pod.uid";
    Core K8S_POD_NAME = "k8s.pod.name";
    /// A dot and the label's name follow.
    Core K8S_POD_LABEL = "k8s.pod.label";
    /// A dot and the annotation's name follow.
    Core K8S_POD_ANNOTATION = "k8s.pod.annotation";
    Core K8S_CONTAINER_NAME = "k8s.container.name";
    Core K8S_DEPLOYMENT_NAME = "k8s.deployment.name";
    Core K8S_REPLICASET_NAME = "k8s.replicaset.name";
    Core K8S_STATEFULSET_NAME = "k8s.statefulset.name";
    Core K8S_DAEMONSET_NAME = "k8s.daemonset.name";
    Core K8S_CRONJOB_NAME = "k8s.cronjob.name";
    Core K8S_JOB_NAME = "k8s.job.name";
    Core K8S_REPLICATIONCONTROLLER_NAME = "k8s.replicationcontroller.name";
    Core TELEMETRY_DISTRO_NAME = "telemetry.distro.name";
    Core TELEMETRY_DISTRO_VERSION = "telemetry.distro.version";
}

#[cfg(test)]
mod tests;
