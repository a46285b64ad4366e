// Watches the presence of people through UCWA, following links only.
//
//     UCWA_PASSWORD=… dotnet run -- https://lyncdiscover.contoso.com/ ana@contoso.com bo@contoso.com
//
// Needs .NET 8 and no packages. Ends on Ctrl-C.
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

if (args.Length < 3)
{
    Console.Error.WriteLine("usage: UCWA_PASSWORD=… watch URL USER ADDRESS…");
    return 2;
}

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    stop.Cancel();
};

using var watcher = new Watcher(new Uri(args[0]), args[1], args[2..], stop.Token);
try
{
    await watcher.RunAsync(Environment.GetEnvironmentVariable("UCWA_PASSWORD") ?? "");
    return 0;
}
catch (OperationCanceledException) when (stop.IsCancellationRequested)
{
    return 0;
}
catch (InvalidOperationException problem)
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}
finally
{
    await watcher.EndAsync();
}

/// <summary>The application or the ticket is not good any more.</summary>
sealed class EndedException(string message) : Exception(message);

sealed class Watcher(Uri root, string user, string[] addresses, CancellationToken stop) : IDisposable
{
    const int Duration = 30; // minutes: the longest a presence subscription may last

    // A P-GET is held for 180 s; the default of HttpClient is 100.
    readonly HttpClient http = new() { Timeout = TimeSpan.FromSeconds(300) };
    readonly Dictionary<string, string> known = [];
    Uri? hrefBase; // what hrefs are relative to
    string? token;
    JsonNode? application;

    static string? Href(JsonNode? resource, string rel) => (string?)resource?["_links"]?[rel]?["href"];

    /// <summary>Watches until the token is cancelled, with a new application whenever one has ended.</summary>
    public async Task RunAsync(string password)
    {
        while (true)
        {
            try
            {
                hrefBase = root;
                var applications = await SignInAsync(password);
                hrefBase = new Uri(root, applications); // hrefs from here on are relative to it
                application = await CallAsync(HttpMethod.Post, applications, new { userAgent = "watch", endpointId = $"{Environment.ProcessId}", culture = "en-US" });
                await FollowAsync();
            }
            catch (EndedException reason)
            {
                Console.Error.WriteLine($"beginning anew: {reason.Message}");
                await Task.Delay(TimeSpan.FromSeconds(1), stop);
            }
        }
    }

    /// <summary>Deletes the application; it ends by itself if this fails.</summary>
    public async Task EndAsync()
    {
        if (Href(application, "self") is not { } self) return;
        using var request = new HttpRequestMessage(HttpMethod.Delete, new Uri(hrefBase!, self));
        request.Headers.TryAddWithoutValidation("Authorization", token);
        try
        {
            using var _ = await http.SendAsync(request, CancellationToken.None);
        }
        catch (HttpRequestException)
        {
        }
    }

    public void Dispose() => http.Dispose();

    /// <summary>Goes from discovery to a token; returns the link to applications.</summary>
    async Task<string> SignInAsync(string password)
    {
        token = null;
        var link = Href(await CallAsync(HttpMethod.Get, $"{root}"), "user")!;
        string? service;
        using (var challenge = await SendAsync(HttpMethod.Get, link)) // 401: it says where the token service is
        {
            var lines = challenge.Headers.TryGetValues("WWW-Authenticate", out var values) ? string.Join(", ", values) : "";
            service = Regex.Match(lines, "MsRtcOAuth href=\"([^\"]+)\"") is { Success: true } match ? match.Groups[1].Value : null;
        }
        if (service is null) throw new InvalidOperationException("the server names no token service");
        var form = new Dictionary<string, string> { ["grant_type"] = "password", ["username"] = user, ["password"] = password };
        using var answer = await SendAsync(HttpMethod.Post, service, () => new FormUrlEncodedContent(form));
        if (!answer.IsSuccessStatusCode) throw new InvalidOperationException($"sign-in was refused: {(int)answer.StatusCode}");
        var ticket = await ReadAsync(answer);
        token = $"{ticket!["token_type"]} {ticket["access_token"]}";
        return Href(await CallAsync(HttpMethod.Get, link), "applications")!;
    }

    /// <summary>Follows the event channel until the application ends.</summary>
    async Task FollowAsync()
    {
        await SubscribeAsync();
        var next = Href(application, "events")!;
        while (true)
        {
            var answer = await CallAsync(HttpMethod.Get, next); // held until there are events
            foreach (var e in (answer?["sender"]?.AsArray() ?? new JsonArray()).SelectMany(sender => sender!["events"]!.AsArray()))
            {
                var href = (string)e!["link"]!["href"]!;
                switch ($"{e["link"]!["rel"]} {e["type"]}")
                {
                    case "contactPresence updated":
                        await ShowAsync((string)e["in"]!["href"]!, href);
                        break;
                    case "presenceSubscription updated": // about to expire
                        await CallAsync(HttpMethod.Post, $"{href}?duration={Duration}");
                        break;
                    case "presenceSubscription deleted":
                        await SubscribeAsync();
                        break;
                }
            }
            var anew = Href(answer, "resync") ?? Href(answer, "resume");
            if (anew is not null) // events or subscriptions were lost
            {
                Console.Error.WriteLine("subscribing anew");
                await SubscribeAsync();
            }
            next = anew ?? Href(answer, "next")!;
        }
    }

    Task SubscribeAsync() =>
        CallAsync(HttpMethod.Post, Href(application?["_embedded"]?["people"], "presenceSubscriptions")!,
            new { duration = Duration, uris = addresses.Select(address => $"sip:{address}") });

    /// <summary>Prints a presence, if it has changed.</summary>
    async Task ShowAsync(string contactHref, string presenceHref)
    {
        try
        {
            var contact = await CallAsync(HttpMethod.Get, contactHref);
            var presence = await CallAsync(HttpMethod.Get, presenceHref);
            var who = ((string)contact!["uri"]!)["sip:".Length..];
            var now = $"{presence!["availability"]} {presence["activity"]}".Trim();
            if (known.GetValueOrDefault(who) == now) return;
            known[who] = now;
            Console.WriteLine($"{who} {now}");
        }
        catch (EndedException)
        {
            // If it is the application, the next P-GET tells.
        }
    }

    /// <summary>Returns the resource, or throws what ends the application.</summary>
    async Task<JsonNode?> CallAsync(HttpMethod method, string href, object? body = null)
    {
        using var answer = await SendAsync(method, href, body is null ? null : () => JsonContent.Create(body));
        var resource = await ReadAsync(answer);
        var status = (int)answer.StatusCode;
        return status switch
        {
            401 or 404 or 410 => throw new EndedException($"{status} {resource?["subcode"]}"),
            >= 300 => throw new InvalidOperationException($"{method} {href}: {status} {resource?.ToJsonString()}"),
            _ => resource,
        };
    }

    /// <summary>Sends a request and waits out what is temporary.</summary>
    async Task<HttpResponseMessage> SendAsync(HttpMethod method, string href, Func<HttpContent>? content = null)
    {
        while (true)
        {
            var wait = TimeSpan.FromSeconds(5);
            string why;
            try
            {
                using var request = new HttpRequestMessage(method, new Uri(hrefBase!, href)) { Content = content?.Invoke() };
                request.Headers.Accept.ParseAdd("application/json");
                if (token is not null) request.Headers.TryAddWithoutValidation("Authorization", token);
                var answer = await http.SendAsync(request, stop);
                if ((int)answer.StatusCode is not (429 or 502 or 503 or 504)) return answer;
                wait = answer.Headers.RetryAfter?.Delta ?? wait;
                why = $"{(int)answer.StatusCode}";
                answer.Dispose();
            }
            catch (Exception problem) when (problem is HttpRequestException or TaskCanceledException && !stop.IsCancellationRequested)
            {
                why = problem.Message; // no connection, it broke, or no answer in time
            }
            Console.Error.WriteLine($"{why}, again in {wait.TotalSeconds} s");
            await Task.Delay(wait, stop);
        }
    }

    /// <summary>Reads a resource; null for an empty body or a page of a proxy.</summary>
    async Task<JsonNode?> ReadAsync(HttpResponseMessage answer)
    {
        if (answer.Content.Headers.ContentType?.MediaType != "application/json") return null;
        var text = await answer.Content.ReadAsStringAsync(stop);
        return text.Length == 0 ? null : JsonNode.Parse(text);
    }
}
