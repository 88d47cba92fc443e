{{/* Text of a value for an environment variable. Helm reads numbers as floats: 67108864 would become 6.7108864e+07. */}}
{{- define "holdfast.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Settings that the chart sets, and what to use instead of setting them by name. */}}
{{- define "holdfast.ownedSettings" -}}
HOLDFAST_STORE_LISTEN: use listenHost; the port is fixed
HOLDFAST_STORE_METRICS_LISTEN: use listenHost; the port is fixed
HOLDFAST_STORE_DATABASE_URL: put it in a Secret, and its name in store.database.existingSecret
HOLDFAST_STORE_DRAIN_MS: use store.drainSeconds
HOLDFAST_STORE_AUTH_KEYS: use auth.existingSecret or auth.url
HOLDFAST_STORE_AUTH_ISSUER: use auth.issuer
HOLDFAST_STORE_AUTH_AUDIENCE: use auth.audience
HOLDFAST_STORE_AUTH_SCALER_OPEN: use auth.scalerOpen
HOLDFAST_STORE_TLS_CERT: use tls.store.existingSecret
HOLDFAST_STORE_TLS_KEY: use tls.store.existingSecret
HOLDFAST_STORE_TLS_CLIENT_CA: use tls.store.clientCertificates
HOLDFAST_GATEWAY_LISTEN: use listenHost; the port is fixed
HOLDFAST_GATEWAY_BRIDGE_LISTEN: use listenHost; the port is fixed
HOLDFAST_GATEWAY_METRICS_LISTEN: use listenHost; the port is fixed
HOLDFAST_GATEWAY_STORE_URL: it is the store of this release
HOLDFAST_GATEWAY_STOP_SECONDS: use gateway.stopSeconds
HOLDFAST_GATEWAY_AUTH_KEYS: use auth.existingSecret or auth.url
HOLDFAST_GATEWAY_AUTH_ISSUER: use auth.issuer
HOLDFAST_GATEWAY_AUTH_AUDIENCE: use auth.audience
HOLDFAST_GATEWAY_AUTH_APPS: use auth.apps
HOLDFAST_GATEWAY_TLS_CERT: use tls.gateway.existingSecret
HOLDFAST_GATEWAY_TLS_KEY: use tls.gateway.existingSecret
HOLDFAST_GATEWAY_TLS_CLIENT_CA: use tls.gateway.clientCertificates
HOLDFAST_GATEWAY_STORE_TOKEN_FILE: use auth.token.existingSecret, or the one of this part
HOLDFAST_GATEWAY_STORE_TLS_CA: use tls.clients.existingSecret
HOLDFAST_GATEWAY_STORE_TLS_CERT: use tls.clients.existingSecret
HOLDFAST_GATEWAY_STORE_TLS_KEY: use tls.clients.existingSecret
HOLDFAST_OPERATOR_METRICS_LISTEN: use listenHost; the port is fixed
HOLDFAST_OPERATOR_STORE_URL: it is the store of this release
HOLDFAST_OPERATOR_NAMESPACE: it is the namespace of this release
HOLDFAST_OPERATOR_STORE_TOKEN_FILE: use auth.token.existingSecret, or the one of this part
HOLDFAST_OPERATOR_STORE_TLS_CA: use tls.clients.existingSecret
HOLDFAST_OPERATOR_STORE_TLS_CERT: use tls.clients.existingSecret
HOLDFAST_OPERATOR_STORE_TLS_KEY: use tls.clients.existingSecret
HOLDFAST_WORKER_METRICS_LISTEN: use listenHost; the port is fixed
HOLDFAST_WORKER_STORE_URL: it is the store of this release
HOLDFAST_WORKER_GROUP: use the worker group's groups
HOLDFAST_WORKER_MODULES: use the worker group's modules
HOLDFAST_WORKER_PID: it is the pod's name
HOLDFAST_WORKER_STOP_SECONDS: use the worker group's stopSeconds
HOLDFAST_WORKER_STORE_TOKEN_FILE: use auth.token.existingSecret, or the one of this part
HOLDFAST_WORKER_STORE_TLS_CA: use tls.clients.existingSecret
HOLDFAST_WORKER_STORE_TLS_CERT: use tls.clients.existingSecret
HOLDFAST_WORKER_STORE_TLS_KEY: use tls.clients.existingSecret
HOLDFAST_DB_METRICS_LISTEN: use listenHost; the port is fixed
HOLDFAST_DB_STORE_URL: it is the store of this release
HOLDFAST_DB_GROUP: use the worker group's groups
HOLDFAST_DB_DATABASE_URL: put it in a Secret, and its name in the worker group's database.existingSecret
HOLDFAST_DB_PID: it is the pod's name
HOLDFAST_DB_STOP_SECONDS: use the worker group's stopSeconds
HOLDFAST_DB_STORE_TOKEN_FILE: use auth.token.existingSecret, or the one of this part
HOLDFAST_DB_STORE_TLS_CA: use tls.clients.existingSecret
HOLDFAST_DB_STORE_TLS_CERT: use tls.clients.existingSecret
HOLDFAST_DB_STORE_TLS_KEY: use tls.clients.existingSecret
{{- end -}}

{{/*
The environment of a process: (dict "config" .Values.store "where" "store" "own" YAML). A name must
not come twice: Kubernetes would take the last one, and server-side apply refuses both.
*/}}
{{- define "holdfast.env" -}}
{{- $owned := include "holdfast.ownedSettings" . | fromYaml -}}
{{- $seen := dict -}}
{{- range fromYamlArray .own -}}{{- $_ := set $seen .name true -}}{{- end -}}
{{ .own }}
{{- range $name, $value := .config.settings }}
{{- if not (kindIs "invalid" $value) }}
{{- if hasKey $owned $name }}
{{- fail (printf "%s.settings must not set %s: %s." $.where $name (index $owned $name)) }}
{{- end }}
{{- $_ := set $seen $name true }}
- name: {{ $name }}
  value: {{ include "holdfast.text" $value | quote }}
{{- end }}
{{- end }}
{{- range .config.extraEnv }}
{{- if hasKey $seen .name }}
{{- $instead := default "keep one of the two" (index $owned .name) }}
{{- fail (printf "%s.extraEnv sets %s, which is set already: %s." $.where .name $instead) }}
{{- end }}
{{- $_ := set $seen .name true }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end -}}

