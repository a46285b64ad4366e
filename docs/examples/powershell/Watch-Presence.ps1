#!/usr/bin/env pwsh
#Requires -Version 7.0
<#
.SYNOPSIS
Watches the presence of people through UCWA, following links only.

.DESCRIPTION
Prints a line for every change, until Ctrl-C. Needs PowerShell 7 and no modules.

.EXAMPLE
./Watch-Presence.ps1 -Url https://lyncdiscover.contoso.com/ -Credential ana@contoso.com -Address bo@contoso.com
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [uri] $Url,
    [Parameter(Mandatory)] [pscredential] [System.Management.Automation.Credential()] $Credential,
    [Parameter(Mandatory)] [string[]] $Address
)
Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

# The application or the ticket is not good any more.
class EndedException : System.Exception {
    EndedException([string] $message) : base($message) {}
}

$duration = 30 # minutes: the longest a presence subscription may last
$script:base = $Url # what hrefs are relative to
$script:token = $null
$script:application = $null
$known = @{}

function Get-Href($Resource, [string] $Rel) {
    if ($null -ne $Resource -and $Resource.ContainsKey('_links') -and $Resource._links.ContainsKey($Rel)) {
        $Resource._links[$Rel].href
    }
}

# Sends a request and waits out what is temporary. A P-GET is held for 180 s.
function Send-Request([string] $Method, [string] $Href, $Body, [string] $ContentType) {
    $request = @{
        Method = $Method; Uri = [uri]::new($script:base, $Href); Headers = @{ Accept = 'application/json' }
        TimeoutSec = 300; SkipHttpErrorCheck = $true; SkipHeaderValidation = $true
    }
    if ($script:token) { $request.Headers.Authorization = $script:token }
    if ($Body) { $request.Body = $Body }
    if ($ContentType) { $request.ContentType = $ContentType }
    while ($true) {
        $wait = 5
        try {
            $answer = Invoke-WebRequest @request
            if ($answer.StatusCode -notin 429, 502, 503, 504) { return $answer }
            if ($answer.Headers.ContainsKey('Retry-After')) { $wait = [int] @($answer.Headers['Retry-After'])[0] }
            $why = $answer.StatusCode
        } catch [System.Net.Http.HttpRequestException], [System.OperationCanceledException], [System.TimeoutException] {
            $why = $_.Exception.Message # no connection, it broke, or no answer in time
        }
        [Console]::Error.WriteLine("$why, again in $wait s")
        Start-Sleep -Seconds $wait
    }
}

# Returns the resource, or throws what ends the application.
function Invoke-Ucwa([string] $Method, [string] $Href, $Body) {
    $json = if ($Body) { ConvertTo-Json -InputObject $Body -Compress }
    $answer = Send-Request $Method $Href $json $(if ($Body) { 'application/json' })
    $resource = if ("$($answer.Headers['Content-Type'])" -like 'application/json*' -and $answer.Content) {
        ConvertFrom-Json -InputObject $answer.Content -AsHashtable
    }
    if ($answer.StatusCode -in 401, 404, 410) {
        $subcode = if ($resource -and $resource.ContainsKey('subcode')) { $resource.subcode }
        throw [EndedException]::new("$($answer.StatusCode) $subcode")
    }
    if ($answer.StatusCode -ge 300) { throw "$Method ${Href}: $($answer.StatusCode) $($answer.Content)" }
    $resource
}

# Goes from discovery to a token; returns the link to applications.
function Connect-Ucwa {
    $script:token = $null
    $link = Get-Href (Invoke-Ucwa GET "$Url") user
    $challenge = Send-Request GET $link # 401: it says where the token service is
    if (-not ("$($challenge.Headers['WWW-Authenticate'])" -match 'MsRtcOAuth href="([^"]+)"')) { throw 'the server names no token service' }
    $form = @{ grant_type = 'password'; username = $Credential.UserName; password = $Credential.GetNetworkCredential().Password }
    $answer = Send-Request POST $Matches[1] $form
    if ($answer.StatusCode -ne 200) { throw "sign-in was refused: $($answer.StatusCode)" }
    $ticket = ConvertFrom-Json -InputObject $answer.Content -AsHashtable
    $script:token = "$($ticket.token_type) $($ticket.access_token)"
    Get-Href (Invoke-Ucwa GET $link) applications
}

function Add-Subscription {
    $body = @{ duration = $duration; uris = @($Address | ForEach-Object { "sip:$_" }) }
    $null = Invoke-Ucwa POST (Get-Href $script:application._embedded.people presenceSubscriptions) $body
}

# Prints a presence, if it has changed.
function Show-Presence([string] $ContactHref, [string] $PresenceHref) {
    try {
        $contact = Invoke-Ucwa GET $ContactHref
        $presence = Invoke-Ucwa GET $PresenceHref
    } catch [EndedException] {
        return # if it is the application, the next P-GET tells
    }
    $who = $contact.uri -replace '^sip:'
    $now = @('availability', 'activity' | Where-Object { $presence.ContainsKey($_) } | ForEach-Object { $presence[$_] }) -join ' '
    if ($known[$who] -eq $now) { return }
    $known[$who] = $now
    "$who $now"
}

# Follows the event channel until the application ends.
function Watch-Event {
    Add-Subscription
    $next = Get-Href $script:application events
    while ($true) {
        $answer = Invoke-Ucwa GET $next # held until there are events
        $senders = if ($answer.ContainsKey('sender')) { $answer.sender } else { @() }
        foreach ($item in @($senders | ForEach-Object { $_.events })) {
            switch ("$($item.link.rel) $($item.type)") {
                'contactPresence updated' { Show-Presence $item.in.href $item.link.href }
                'presenceSubscription updated' { $null = Invoke-Ucwa POST "$($item.link.href)?duration=$duration" } # about to expire
                'presenceSubscription deleted' { Add-Subscription }
            }
        }
        $anew = (Get-Href $answer resync) ?? (Get-Href $answer resume)
        if ($anew) { # events or subscriptions were lost
            [Console]::Error.WriteLine('subscribing anew')
            Add-Subscription
        }
        $next = $anew ?? (Get-Href $answer next)
    }
}

try {
    while ($true) {
        try {
            $script:base = $Url
            $applications = Connect-Ucwa
            $script:base = [uri]::new($Url, $applications) # hrefs from here on are relative to it
            $create = @{ userAgent = 'Watch-Presence'; endpointId = "$PID"; culture = 'en-US' }
            $script:application = Invoke-Ucwa POST $applications $create
            Watch-Event
        } catch [EndedException] {
            [Console]::Error.WriteLine("beginning anew: $($_.Exception.Message)")
            Start-Sleep -Seconds 1
        }
    }
} finally {
    if ($script:application) {
        $null = Send-Request DELETE (Get-Href $script:application self)
    }
}
