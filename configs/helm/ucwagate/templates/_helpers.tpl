{{/* The name of the objects. */}}
{{- define "ucwagate.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ucwagate.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ucwagate.labels" -}}
{{ include "ucwagate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ucwagate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "ucwagate.fullname" .) }}
{{- else }}{{ required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ucwagate.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* The configuration: what was given, or the example. */}}
{{- define "ucwagate.config" -}}
{{- .Values.config | default (.Files.Get "files/ucwagate.yaml") }}
{{- end }}

{{/* How many tenants the configuration has. */}}
{{- define "ucwagate.tenants" -}}
{{- $config := include "ucwagate.config" . | fromYaml }}
{{- if hasKey $config "Error" }}{{ fail (printf "config is no YAML: %s" (get $config "Error")) }}{{ end }}
{{- if not (get $config "tenants") }}{{ fail "config names no tenants" }}{{ end }}
{{- len (get $config "tenants") }}
{{- end }}

{{/* How many pods there are at most while all of them may send to Graph: one more
during an update and, where there is more than one, one that ends meanwhile. */}}
{{- define "ucwagate.peak" -}}
{{- $replicas := int .Values.replicas }}
{{- if .Values.autoscaling.enabled }}{{ $replicas = int .Values.autoscaling.maxReplicas }}{{ end }}
{{- if ne .Values.strategy "Recreate" }}{{ if gt $replicas 1 }}{{ add $replicas 2 }}{{ else }}{{ add $replicas 1 }}{{ end }}
{{- else }}{{ $replicas }}
{{- end }}
{{- end }}

{{/* The share of the budget of one pod, or all of it where they share it. */}}
{{- define "ucwagate.share" -}}
{{- if .Values.redis.enabled }}{{ .Values.budget.limit }}
{{- else }}{{ div .Values.budget.limit (include "ucwagate.peak" . | int) }}
{{- end }}
{{- end }}

{{/* The keys of Redis' Secret that are mounted, as a list in JSON. */}}
{{- define "ucwagate.redisKeys" -}}
{{- $keys := list }}
{{- with .Values.redis.secret }}
{{- range list .password .sentinelPassword .ca .certificate .key }}
{{- if . }}{{ $keys = append $keys . | uniq }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $keys }}
{{- end }}

{{/* The variables for Redis. */}}
{{- define "ucwagate.redisEnv" -}}
{{- if and .Values.redis.cluster .Values.redis.sentinel }}{{ fail "redis.cluster and redis.sentinel exclude each other" }}{{ end }}
{{- if hasKey (include "ucwagate.config" . | fromYaml) "redis" }}{{ fail "config has a section redis, and redis.enabled says it all: leave one out" }}{{ end }}
- name: UCWAGATE_REDIS_ADDRESSES
  value: {{ join "," .Values.redis.addresses | quote }}
- name: UCWAGATE_REDIS_REPLICAS
  value: {{ include "ucwagate.peak" . | quote }}
{{- $at := "/run/secrets/ucwagate-redis/" }}
{{- $optional := list
  (list "CLUSTER" (ternary "true" "" .Values.redis.cluster))
  (list "SENTINEL" .Values.redis.sentinel)
  (list "DATABASE" (ternary "" (toString .Values.redis.database) (eq (int .Values.redis.database) 0)))
  (list "PREFIX" (ternary "" .Values.redis.prefix (eq .Values.redis.prefix "ucwagate")))
  (list "USERNAME" .Values.redis.username)
  (list "PASSWORD_FILE" (empty .Values.redis.secret.password | ternary "" (print $at .Values.redis.secret.password)))
  (list "SENTINEL_USERNAME" .Values.redis.sentinelUsername)
  (list "SENTINEL_PASSWORD_FILE" (empty .Values.redis.secret.sentinelPassword | ternary "" (print $at .Values.redis.secret.sentinelPassword)))
  (list "TLS_ENABLED" (ternary "true" "" .Values.redis.tls.enabled))
  (list "TLS_SERVER_NAME" .Values.redis.tls.serverName)
  (list "TLS_CA_FILE" (empty .Values.redis.secret.ca | ternary "" (print $at .Values.redis.secret.ca)))
  (list "TLS_CERTIFICATE_FILE" (empty .Values.redis.secret.certificate | ternary "" (print $at .Values.redis.secret.certificate)))
  (list "TLS_KEY_FILE" (empty .Values.redis.secret.key | ternary "" (print $at .Values.redis.secret.key)))
}}
{{- range $optional }}
{{- if index . 1 }}
- name: UCWAGATE_REDIS_{{ index . 0 }}
  value: {{ index . 1 | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* 88 % of the memory limit, in MiB. */}}
{{- define "ucwagate.goMemLimit" -}}
{{- $limit := .Values.resources.limits.memory | toString }}
{{- $mebibytes := 0 }}
{{- if regexMatch "^[0-9]+Mi$" $limit }}{{ $mebibytes = trimSuffix "Mi" $limit | int }}
{{- else if regexMatch "^[0-9]+Gi$" $limit }}{{ $mebibytes = mul 1024 (trimSuffix "Gi" $limit | int) }}
{{- else }}{{ fail (printf "resources.limits.memory must be in Mi or Gi, not %s" $limit) }}
{{- end }}
{{- div (mul $mebibytes 88) 100 }}MiB
{{- end }}

{{/* What the Ingresses have in common. */}}
{{- define "ucwagate.ingressAnnotations" -}}
nginx.ingress.kubernetes.io/use-regex: "true"
{{- if not .Values.redis.enabled }}
nginx.ingress.kubernetes.io/upstream-hash-by: $remote_addr
{{- end }}
nginx.ingress.kubernetes.io/proxy-connect-timeout: "2"
nginx.ingress.kubernetes.io/proxy-send-timeout: "30"
nginx.ingress.kubernetes.io/proxy-next-upstream-timeout: "5"
nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "2"
{{- with .Values.ingress.annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A rule for each host: dict root, hosts, paths. */}}
{{- define "ucwagate.ingressSpec" -}}
{{- with .root.Values.ingress.className }}
ingressClassName: {{ . }}
{{- end }}
tls:
  - secretName: {{ .root.Values.ingress.tlsSecret }}
    hosts:
      {{- toYaml .hosts | nindent 6 }}
rules:
  {{- $root := .root }}
  {{- $paths := .paths }}
  {{- range .hosts }}
  - host: {{ . }}
    http:
      paths:
        {{- range $paths }}
        - path: {{ . }}
          pathType: ImplementationSpecific
          backend:
            service:
              name: {{ include "ucwagate.fullname" $root }}
              port:
                name: http
        {{- end }}
  {{- end }}
{{- end }}
