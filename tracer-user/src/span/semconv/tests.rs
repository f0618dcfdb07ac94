//! Our names against the constants that the OpenTelemetry project publishes.

#![expect(deprecated, reason = "the GenAI names have moved to a repository of their own, which has no crate yet")]

use std::collections::BTreeSet;

use opentelemetry_semantic_conventions::attribute;

use super::*;

const PUBLISHED: &[&str] = &[
    attribute::GEN_AI_OPERATION_NAME,
    attribute::GEN_AI_PROVIDER_NAME,
    attribute::GEN_AI_REQUEST_MODEL,
    attribute::GEN_AI_REQUEST_MAX_TOKENS,
    attribute::GEN_AI_REQUEST_TEMPERATURE,
    attribute::GEN_AI_REQUEST_TOP_P,
    attribute::GEN_AI_REQUEST_TOP_K,
    attribute::GEN_AI_REQUEST_FREQUENCY_PENALTY,
    attribute::GEN_AI_REQUEST_PRESENCE_PENALTY,
    attribute::GEN_AI_REQUEST_STOP_SEQUENCES,
    attribute::GEN_AI_REQUEST_SEED,
    attribute::GEN_AI_REQUEST_CHOICE_COUNT,
    attribute::GEN_AI_REQUEST_STREAM,
    attribute::GEN_AI_OUTPUT_TYPE,
    attribute::USER_ID,
    attribute::SESSION_ID,
    attribute::GEN_AI_CONVERSATION_ID,
    attribute::GEN_AI_EMBEDDINGS_DIMENSION_COUNT,
    attribute::GEN_AI_RESPONSE_ID,
    attribute::GEN_AI_RESPONSE_MODEL,
    attribute::GEN_AI_RESPONSE_FINISH_REASONS,
    attribute::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    attribute::GEN_AI_USAGE_INPUT_TOKENS,
    attribute::GEN_AI_USAGE_OUTPUT_TOKENS,
    attribute::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    attribute::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
    attribute::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
    attribute::GEN_AI_TOOL_NAME,
    attribute::GEN_AI_TOOL_CALL_ID,
    attribute::GEN_AI_PROMPT_NAME,
    attribute::GEN_AI_DATA_SOURCE_ID,
    attribute::MCP_METHOD_NAME,
    attribute::MCP_PROTOCOL_VERSION,
    attribute::MCP_SESSION_ID,
    attribute::MCP_RESOURCE_URI,
    attribute::JSONRPC_REQUEST_ID,
    attribute::RPC_RESPONSE_STATUS_CODE,
    attribute::DB_SYSTEM_NAME,
    attribute::DB_OPERATION_NAME,
    attribute::DB_COLLECTION_NAME,
    attribute::DB_NAMESPACE,
    attribute::DB_RESPONSE_RETURNED_ROWS,
    attribute::DB_RESPONSE_STATUS_CODE,
    attribute::NETWORK_TRANSPORT,
    attribute::NETWORK_PROTOCOL_NAME,
    attribute::OPENAI_API_TYPE,
    attribute::OPENAI_REQUEST_SERVICE_TIER,
    attribute::OPENAI_RESPONSE_SERVICE_TIER,
    attribute::OPENAI_RESPONSE_SYSTEM_FINGERPRINT,
    attribute::AWS_BEDROCK_GUARDRAIL_ID,
    attribute::SERVER_ADDRESS,
    attribute::SERVER_PORT,
    attribute::HTTP_RESPONSE_STATUS_CODE,
    attribute::NETWORK_PROTOCOL_VERSION,
    attribute::ERROR_TYPE,
    attribute::GEN_AI_TOKEN_TYPE,
    attribute::GEN_AI_SYSTEM_INSTRUCTIONS,
    attribute::GEN_AI_INPUT_MESSAGES,
    attribute::GEN_AI_OUTPUT_MESSAGES,
    attribute::GEN_AI_TOOL_DEFINITIONS,
    // Of the metrics SDK's specification, which the crate of the conventions does not hold.
    "otel.metric.overflow",
    attribute::SERVICE_NAME,
    attribute::SERVICE_NAMESPACE,
    attribute::SERVICE_VERSION,
    attribute::SERVICE_INSTANCE_ID,
    attribute::PROCESS_PID,
    attribute::PROCESS_EXECUTABLE_NAME,
    attribute::PROCESS_EXECUTABLE_PATH,
    attribute::PROCESS_COMMAND,
    attribute::PROCESS_OWNER,
    attribute::HOST_NAME,
    attribute::HOST_ID,
    attribute::CONTAINER_ID,
    attribute::CONTAINER_NAME,
    attribute::CONTAINER_IMAGE_NAME,
    attribute::CONTAINER_IMAGE_TAGS,
    attribute::CONTAINER_LABEL,
    attribute::CONTAINER_RUNTIME_NAME,
    attribute::OCI_MANIFEST_DIGEST,
    attribute::K8S_NAMESPACE_NAME,
    attribute::K8S_NODE_NAME,
    attribute::K8S_POD_UID,
    attribute::K8S_POD_NAME,
    attribute::K8S_POD_LABEL,
    attribute::K8S_POD_ANNOTATION,
    attribute::K8S_CONTAINER_NAME,
    attribute::K8S_DEPLOYMENT_NAME,
    attribute::K8S_REPLICASET_NAME,
    attribute::K8S_STATEFULSET_NAME,
    attribute::K8S_DAEMONSET_NAME,
    attribute::K8S_CRONJOB_NAME,
    attribute::K8S_JOB_NAME,
    attribute::K8S_REPLICATIONCONTROLLER_NAME,
    attribute::TELEMETRY_DISTRO_NAME,
    attribute::TELEMETRY_DISTRO_VERSION,
];

fn ours(wanted: Origin) -> BTreeSet<&'static str> {
    ALL.iter().filter(|(_, origin)| *origin == wanted).map(|(name, _)| *name).collect()
}

#[test]
fn core_names_are_the_published_ones() {
    assert_eq!(ours(Origin::Core), PUBLISHED.iter().copied().collect());
}

#[test]
fn own_names_say_so() {
    let foreign: Vec<&str> = ours(Origin::Own).into_iter().filter(|name| !name.starts_with("llmtap.")).collect();
    assert_eq!(foreign, [USAGE_COST]);
    let newer = ours(Origin::Newer);
    assert!(newer.iter().all(|name| name.starts_with("gen_ai.")));
}

#[test]
fn each_name_stands_once() {
    let names: BTreeSet<&str> = ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn core_metrics_are_the_published_ones() {
    use opentelemetry_semantic_conventions::metric as published;
    let core: Vec<&str> =
        metric::Metric::ALL.iter().filter(|metric| metric.origin == Origin::Core).map(|metric| metric.name).collect();
    assert_eq!(
        core,
        [
            published::GEN_AI_CLIENT_OPERATION_DURATION,
            published::GEN_AI_CLIENT_TOKEN_USAGE,
            published::GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK,
            published::GEN_AI_CLIENT_OPERATION_TIME_PER_OUTPUT_CHUNK,
        ]
    );
    assert!(
        metric::Metric::ALL
            .iter()
            .filter(|metric| metric.origin != Origin::Core)
            .all(|metric| metric.name.starts_with("llmtap."))
    );
}

#[test]
fn pauses_are_counted_by_the_bounds_of_durations() {
    let nanos: Vec<u64> = metric::DURATION_BOUNDS.iter().map(|bound| (bound * 1e9).round() as u64).collect();
    assert_eq!(nanos, crate::llm::call::GAP_BOUNDS);
}
