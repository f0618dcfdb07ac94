# net/http, below most of Ruby's clients: wants OPENAI_BASE_URL, ANTHROPIC_BASE_URL and SSL_CERT_FILE.
require 'json'
require 'net/http'

CHAT = URI("#{ENV.fetch('OPENAI_BASE_URL')}/chat/completions")
MESSAGES = URI("#{ENV.fetch('ANTHROPIC_BASE_URL')}/v1/messages")
KEY = ENV.fetch('OPENAI_API_KEY')

def post(http, uri, body, directive = {}, headers = {})
  request = Net::HTTP::Post.new(uri, { 'content-type' => 'application/json', 'x-mock' => JSON.dump(directive) }.merge(headers))
  request.body = JSON.dump(body)
  http.request(request) { |response| response.read_body { |_piece| } }
end

def chat(http, stream: false, text: 'hello', **directive)
  body = { model: 'gpt-5', messages: [{ role: 'user', content: text }] }
  body.merge!(stream: true, stream_options: { include_usage: true }) if stream
  post(http, CHAT, body, directive, 'authorization' => "Bearer #{KEY}")
end

def message(http, stream: false, **directive)
  body = { model: 'claude-sonnet-5', max_tokens: 100, stream: stream, messages: [{ role: 'user', content: 'hello' }] }
  post(http, MESSAGES, body, directive, 'x-api-key' => KEY, 'anthropic-version' => '2023-06-01')
end

def connected(&work) = Net::HTTP.start(CHAT.host, CHAT.port, use_ssl: CHAT.scheme == 'https', &work)

connected { |http| chat(http) }
connected do |http|
  chat(http, stream: true, tokens: 30, interval_us: 1000)
  message(http)
  message(http, stream: true, tokens: 30, interval_us: 1000)
  chat(http, encoding: 'gzip')
  chat(http, status: 429, retry_after: 1)
  chat(http, text: 'x' * 1_000_000)
end
Array.new(10) { Thread.new { connected { |http| 2.times { chat(http, stream: true, tokens: 20, interval_us: 1000) } } } }.each(&:join)
# Fibers have stacks of their own.
Array.new(3) { Fiber.new { connected { |http| chat(http, stream: true, tokens: 10) } } }.each(&:resume)
puts 'done'
