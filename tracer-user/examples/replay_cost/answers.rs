//! What client libraries hold of chunks, events and answers, by the family of APIs. An event and a whole answer of one API
//! share a type, all of whose members may be absent.

use serde::Deserialize;

use crate::baseline::{Text, Tree};

/// Structs of optional members, with texts of kind `T`.
macro_rules! types {
    ($($(#[$attribute:meta])* $name:ident { $($(#[$member_attribute:meta])* $member:ident: $kind:ty,)* })*) => {$(
        #[derive(Deserialize)]
        #[serde(bound = "T: Text<'de>")]
        #[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
        $(#[$attribute])*
        pub struct $name<T> { $($(#[$member_attribute])* $member: Option<$kind>,)* }
    )*};
}

/// The same without texts.
macro_rules! counts {
    ($($(#[$attribute:meta])* $name:ident { $($(#[$member_attribute:meta])* $member:ident: $kind:ty,)* })*) => {$(
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
        $(#[$attribute])*
        pub struct $name { $($(#[$member_attribute])* $member: Option<$kind>,)* }
    )*};
}

counts! {
    Usage {
        #[serde(alias = "input_tokens")]
        prompt_tokens: u64,
        #[serde(alias = "output_tokens")]
        completion_tokens: u64,
        total_tokens: u64,
    }
}

types! {
    Chat {
        id: T,
        model: T,
        created: u64,
        service_tier: T,
        system_fingerprint: T,
        choices: Vec<Choice<T>>,
        usage: Usage,
    }
    Choice {
        index: u32,
        #[serde(alias = "delta")]
        message: Message<T>,
        text: T,
        finish_reason: T,
    }
    Message {
        role: T,
        content: T,
    }
}

types! {
    Anthropic {
        #[serde(rename = "type")]
        kind: T,
        id: T,
        model: T,
        role: T,
        index: u32,
        message: Box<Anthropic<T>>,
        content: Vec<Block<T>>,
        content_block: Block<T>,
        delta: Block<T>,
        completion: T,
        stop_reason: T,
        usage: Usage,
    }
    Block {
        #[serde(rename = "type")]
        kind: T,
        text: T,
        partial_json: T,
        stop_reason: T,
    }
}

types! {
    Responses {
        #[serde(rename = "type")]
        kind: T,
        sequence_number: u64,
        item_id: T,
        output_index: u32,
        content_index: u32,
        delta: T,
        text: T,
        item: Item<T>,
        response: Box<Responses<T>>,
        id: T,
        model: T,
        status: T,
        instructions: T,
        output: Vec<Item<T>>,
        usage: Usage,
    }
    Item {
        #[serde(rename = "type")]
        kind: T,
        id: T,
        status: T,
        role: T,
        name: T,
        call_id: T,
        arguments: T,
        content: Vec<Block<T>>,
    }
}

types! {
    Media {
        #[serde(rename = "type")]
        kind: T,
        created: u64,
        data: Vec<Picture<T>>,
        b64_json: T,
        partial_image_index: u32,
        audio: T,
        text: T,
        delta: T,
        usage: Usage,
    }
    Picture {
        b64_json: T,
        url: T,
    }
}

types! {
    Embeddings {
        model: T,
        data: Vec<Embedding>,
        usage: Usage,
    }
    CohereEmbeddings {
        id: T,
        embeddings: ByType,
        texts: Vec<T>,
    }
    OllamaEmbeddings {
        model: T,
        embeddings: Vec<Vec<f64>>,
        prompt_eval_count: u64,
    }
}

counts! {
    Embedding {
        #[serde(alias = "text_index")]
        index: u32,
        #[serde(alias = "values")]
        embedding: Vec<f64>,
    }
    ByType {
        float: Vec<Vec<f64>>,
    }
    GeminiEmbeddings {
        embedding: Embedding,
        embeddings: Vec<Embedding>,
    }
}

types! {
    #[serde(rename_all = "camelCase")]
    Gemini {
        candidates: Vec<Candidate<T>>,
        usage_metadata: GeminiUsage,
        model_version: T,
        response_id: T,
    }
    #[serde(rename_all = "camelCase")]
    Candidate {
        index: u32,
        finish_reason: T,
        content: Parts<T>,
    }
    Parts {
        role: T,
        parts: Vec<Part<T>>,
    }
    Part {
        text: T,
    }
    Interactions {
        event_type: T,
        interaction_id: T,
        interaction: Box<Interactions<T>>,
        id: T,
        model: T,
        role: T,
        status: T,
        index: u32,
        step: Step<T>,
        steps: Vec<Step<T>>,
        delta: Block<T>,
    }
    Step {
        #[serde(rename = "type")]
        kind: T,
        signature: T,
        content: Vec<Block<T>>,
    }
}

counts! {
    #[serde(rename_all = "camelCase")]
    GeminiUsage {
        prompt_token_count: u64,
        candidates_token_count: u64,
        total_token_count: u64,
    }
}

types! {
    #[serde(rename_all = "camelCase")]
    Converse {
        content_block_index: u32,
        delta: Block<T>,
        role: T,
        stop_reason: T,
        output: Output<T>,
        usage: ConverseUsage,
    }
    Output {
        message: Said<T>,
    }
    Said {
        role: T,
        content: Vec<Block<T>>,
    }
}

counts! {
    #[serde(rename_all = "camelCase")]
    ConverseUsage {
        input_tokens: u64,
        output_tokens: u64,
        total_tokens: u64,
    }
}

types! {
    Cohere {
        #[serde(rename = "type", alias = "event_type")]
        kind: T,
        id: T,
        index: u32,
        delta: CohereDelta<T>,
        message: Said<T>,
        generations: Vec<Generation<T>>,
        text: T,
        prompt: T,
        finish_reason: T,
        usage: Billed,
    }
    CohereDelta {
        message: CohereMessage<T>,
        finish_reason: T,
        usage: Billed,
    }
    CohereMessage {
        role: T,
        content: Spoken<T>,
        tool_plan: T,
    }
    Generation {
        id: T,
        text: T,
        finish_reason: T,
    }
}

/// An object in most events, a list in the first.
#[derive(Deserialize)]
#[serde(untagged, bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
pub enum Spoken<T> {
    One(Block<T>),
    Many(Vec<Block<T>>),
}

counts! {
    Billed {
        tokens: Usage,
        billed_units: Usage,
    }
}

types! {
    Ollama {
        model: T,
        created_at: T,
        message: Message<T>,
        response: T,
        done: bool,
        done_reason: T,
        prompt_eval_count: u64,
        eval_count: u64,
        total_duration: u64,
    }
    MistralConversations {
        #[serde(rename = "type")]
        kind: T,
        created_at: T,
        output_index: u32,
        content_index: u32,
        conversation_id: T,
        id: T,
        model: T,
        role: T,
        content: T,
        outputs: Vec<Entry<T>>,
        usage: Usage,
    }
    Entry {
        #[serde(rename = "type")]
        kind: T,
        id: T,
        role: T,
        model: T,
        content: T,
    }
}

types! {
    Watsonx {
        model_id: T,
        created_at: T,
        results: Vec<Generated<T>>,
        input_token_count: u64,
    }
    Generated {
        generated_text: T,
        generated_token_count: u64,
        input_token_count: u64,
        stop_reason: T,
        embedding: Vec<f64>,
    }
    DashScope {
        request_id: T,
        output: DashScopeOutput<T>,
        usage: Usage,
    }
    DashScopeOutput {
        text: T,
        finish_reason: T,
        choices: Vec<Choice<T>>,
        embeddings: Vec<Embedding>,
    }
}

types! {
    Generate {
        index: u32,
        token: Token<T>,
        generated_text: T,
        details: Details<T>,
        text: T,
        meta_info: Meta<T>,
        content: T,
        tokens: Vec<u64>,
        stop: bool,
        model: T,
        id_slot: u32,
        tokens_predicted: u64,
        tokens_evaluated: u64,
        stop_type: T,
        prompt: T,
    }
    Token {
        id: u64,
        text: T,
        logprob: f64,
        special: bool,
    }
    Details {
        finish_reason: T,
        generated_tokens: u64,
        input_length: u64,
        tokens: Vec<Token<T>>,
    }
    Meta {
        id: T,
        finish_reason: Tree<T>,
        prompt_tokens: u64,
        completion_tokens: u64,
        cached_tokens: u64,
        e2e_latency: f64,
    }
    LmStudio {
        #[serde(rename = "type")]
        kind: T,
        content: T,
        model_instance_id: T,
        output: Vec<Entry<T>>,
        response_id: T,
    }
}
