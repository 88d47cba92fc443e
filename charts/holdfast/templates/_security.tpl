{{/*
Keys, tokens and certificates: from Secrets that exist, as files of whole folders, so that what is
replaced in a Secret is seen without a new pod. Nothing is mounted that is not asked for.
*/}}

{{/* Whether tokens are asked for: "true" or nothing. */}}
{{- define "holdfast.asksForTokens" -}}
{{- if or .Values.auth.existingSecret .Values.auth.url }}true{{ end -}}
{{- end -}}

{{/* The Secret and the key of a client's token, as JSON: (dict "root" $ "config" .Values.gateway). */}}
{{- define "holdfast.tokenOf" -}}
{{- $all := .root.Values.auth.token -}}
{{- $own := .config.token -}}
{{- ternary $own $all (ne $own.existingSecret "") | toJson -}}
{{- end -}}

{{/* The environment of a process that asks for tokens: (dict "root" $ "prefix" "HOLDFAST_STORE"). */}}
{{- define "holdfast.authEnv" -}}
{{- $auth := .root.Values.auth -}}
{{- if include "holdfast.asksForTokens" .root }}
- name: {{ .prefix }}_AUTH_KEYS
  value: {{ default (printf "/etc/holdfast/auth/%s" $auth.key) $auth.url | quote }}
{{- with $auth.issuer }}
- name: {{ $.prefix }}_AUTH_ISSUER
  value: {{ . | quote }}
{{- end }}
{{- with $auth.audience }}
- name: {{ $.prefix }}_AUTH_AUDIENCE
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The environment of a process with a certificate: (dict "prefix" ... "tls" .Values.tls.store). */}}
{{- define "holdfast.tlsEnv" -}}
{{- if .tls.existingSecret }}
- name: {{ .prefix }}_TLS_CERT
  value: /etc/holdfast/tls/tls.crt
- name: {{ .prefix }}_TLS_KEY
  value: /etc/holdfast/tls/tls.key
{{- if .tls.clientCertificates }}
- name: {{ .prefix }}_TLS_CLIENT_CA
  value: /etc/holdfast/tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* The environment of a client of the store: (dict "root" $ "prefix" ... "config" ...). */}}
{{- define "holdfast.accessEnv" -}}
{{- $tls := .root.Values.tls -}}
{{- $token := include "holdfast.tokenOf" . | fromJson -}}
{{- if $token.existingSecret }}
- name: {{ .prefix }}_STORE_TOKEN_FILE
  value: {{ printf "/etc/holdfast/token/%s" $token.key | quote }}
{{- end }}
{{- if and $tls.store.existingSecret $tls.clients.existingSecret }}
- name: {{ .prefix }}_STORE_TLS_CA
  value: /etc/holdfast/store-tls/ca.crt
{{- if $tls.store.clientCertificates }}
- name: {{ .prefix }}_STORE_TLS_CERT
  value: /etc/holdfast/store-tls/tls.crt
- name: {{ .prefix }}_STORE_TLS_KEY
  value: /etc/holdfast/store-tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{/* The Secrets that a process reads, by the folder they are in, as JSON: (dict "root" "part" "config"). */}}
{{- define "holdfast.secrets" -}}
{{- $auth := .root.Values.auth -}}
{{- $tls := .root.Values.tls -}}
{{- $found := dict -}}
{{- if and (has .part (list "store" "gateway")) $auth.existingSecret -}}
{{- $_ := set $found "auth" $auth.existingSecret -}}
{{- end -}}
{{- if has .part (list "store" "gateway") -}}
{{- with (index $tls .part).existingSecret -}}{{- $_ := set $found "tls" . -}}{{- end -}}
{{- end -}}
{{- if ne .part "store" -}}
{{- $token := include "holdfast.tokenOf" . | fromJson -}}
{{- with $token.existingSecret -}}{{- $_ := set $found "token" . -}}{{- end -}}
{{- if and $tls.store.existingSecret $tls.clients.existingSecret -}}
{{- $_ := set $found "store-tls" $tls.clients.existingSecret -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* A client that would be refused is refused here: (dict "root" $ "config" ... "where" "gateway"). */}}
{{- define "holdfast.refuseNoToken" -}}
{{- $token := include "holdfast.tokenOf" . | fromJson -}}
{{- if and (include "holdfast.asksForTokens" .root) (not $token.existingSecret) -}}
{{- fail (printf "auth makes the store ask for tokens, and %s has none: set auth.token.existingSecret for all, or %s.token.existingSecret." .where .where) -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.refuseSecurity" -}}
{{- $tls := .Values.tls -}}
{{- if and .Values.auth.existingSecret .Values.auth.url -}}
{{- fail "auth.existingSecret and auth.url both say where the keys are that verify tokens: remove one of them." -}}
{{- end -}}
{{- if and $tls.store.clientCertificates (not $tls.store.existingSecret) -}}
{{- fail "tls.store.clientCertificates needs tls.store.existingSecret: clients show certificates over TLS only." -}}
{{- end -}}
{{- if and $tls.store.clientCertificates (not $tls.clients.existingSecret) -}}
{{- fail "tls.store.clientCertificates makes the store ask for certificates, and its clients have none: set tls.clients.existingSecret to a Secret with tls.crt, tls.key and ca.crt." -}}
{{- end -}}
{{- if and $tls.gateway.clientCertificates (not $tls.gateway.existingSecret) -}}
{{- fail "tls.gateway.clientCertificates needs tls.gateway.existingSecret: clients show certificates over TLS only." -}}
{{- end -}}
{{- include "holdfast.refuseNoToken" (dict "root" . "config" .Values.gateway "where" "gateway") -}}
{{- if .Values.operator.enabled -}}
{{- include "holdfast.refuseNoToken" (dict "root" . "config" .Values.operator "where" "operator") -}}
{{- end -}}
{{- range $name, $group := include "holdfast.workerGroups" . | fromJson -}}
{{- include "holdfast.refuseNoToken" (dict "root" $ "config" $group "where" (printf "workerGroups.%s" $name)) -}}
{{- end -}}
{{- end -}}
