// HttpClient over the machine's libssl: wants OPENAI_BASE_URL and SSL_CERT_FILE. In a form of C# that Mono's compiler takes.
using System;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;

static class Client
{
    const string Slow = "{\"tokens\":30,\"interval_us\":1000}";

    static async Task Ask(HttpClient http, bool stream, string text, string directive)
    {
        var options = stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "";
        var body = "{\"model\":\"gpt-5\",\"messages\":[{\"role\":\"user\",\"content\":\"" + text + "\"}]" + options + "}";
        var url = Environment.GetEnvironmentVariable("OPENAI_BASE_URL") + "/chat/completions";
        var request = new HttpRequestMessage(HttpMethod.Post, url);
        request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        request.Headers.Add("authorization", "Bearer " + Environment.GetEnvironmentVariable("OPENAI_API_KEY"));
        request.Headers.Add("x-mock", directive);
        using (var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead))
        using (var reader = await answer.Content.ReadAsStreamAsync())
        {
            var piece = new byte[500];
            while (await reader.ReadAsync(piece, 0, piece.Length) > 0) { }
        }
    }

    static async Task Run()
    {
        var http = new HttpClient();
        for (int i = 0; i < 3; i++)
        {
            await Ask(http, false, "hello", "{}");
            await Ask(http, true, "hello", Slow);
        }
        await Ask(http, false, "hello", "{\"status\":429}");
        await Ask(http, false, new string('x', 1000000), "{}");
        var all = new Task[20];
        for (int i = 0; i < all.Length; i++) all[i] = Ask(http, true, "hello", Slow);
        await Task.WhenAll(all);
    }

    static void Main()
    {
        Run().GetAwaiter().GetResult();
        Console.WriteLine("done");
    }
}
