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
nginx.ingress.kubernetes.io/upstream-hash-by: $remote_addr
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
