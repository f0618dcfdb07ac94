import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** The JDK's HTTP client, over TLS that is written in Java, or without: wants OPENAI_BASE_URL. */
public final class Client {
    /** Nothing leaves loopback: the mock's certificate is not looked at. */
    private static final class Trusting implements X509TrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String kind) {}

        public void checkServerTrusted(X509Certificate[] chain, String kind) {}

        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }

    private static HttpRequest request(boolean stream, String directive) {
        String options = stream ? "\"stream\":true,\"stream_options\":{\"include_usage\":true}," : "";
        String body = "{\"model\":\"gpt-5\"," + options + "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
        return HttpRequest.newBuilder(URI.create(System.getenv("OPENAI_BASE_URL") + "/chat/completions"))
                .header("content-type", "application/json")
                .header("x-mock", directive)
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
    }

    public static void main(String[] arguments) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Trusting()}, null);
        HttpClient client =
                HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).sslContext(context).build();
        for (int round = 0; round < 3; round++) {
            client.send(request(false, "{}"), BodyHandlers.ofString());
            client.send(request(true, "{\"tokens\":30,\"interval_us\":1000}"), BodyHandlers.ofLines())
                    .body()
                    .forEach(line -> {});
        }
        client.send(request(false, "{\"status\":429}"), BodyHandlers.ofString());
        System.out.println("done");
    }
}
