{{/* What the chart sets of the gateway's environment. */}}
{{- define "holdfast.gateway.env" -}}
- name: HOLDFAST_GATEWAY_STORE_URL
  value: {{ include "holdfast.storeUrl" . }}
- name: HOLDFAST_GATEWAY_LISTEN
  value: {{ printf "%s:8000" .Values.listenHost | quote }}
- name: HOLDFAST_GATEWAY_BRIDGE_LISTEN
  value: {{ printf "%s:8001" .Values.listenHost | quote }}
- name: HOLDFAST_GATEWAY_METRICS_LISTEN
  value: {{ printf "%s:9090" .Values.listenHost | quote }}
- name: HOLDFAST_GATEWAY_STOP_SECONDS
  value: {{ .Values.gateway.stopSeconds | quote }}
{{- include "holdfast.accessEnv" (dict "root" . "prefix" "HOLDFAST_GATEWAY" "config" .Values.gateway) }}
{{- include "holdfast.authEnv" (dict "root" . "prefix" "HOLDFAST_GATEWAY") }}
{{- if and (include "holdfast.asksForTokens" .) .Values.auth.apps }}
- name: HOLDFAST_GATEWAY_AUTH_APPS
  value: "1"
{{- end }}
{{- include "holdfast.tlsEnv" (dict "prefix" "HOLDFAST_GATEWAY" "tls" .Values.tls.gateway) }}
{{- end -}}

{{/* Where readiness is asked for, as JSON: kubelet and `helm test` have no certificate to show. */}}
{{- define "holdfast.gateway.readiness" -}}
{{- $tls := .Values.tls.gateway -}}
{{- if $tls.clientCertificates -}}
{{- toJson (dict "readyPort" "metrics") -}}
{{- else -}}
{{- toJson (dict "readyPort" "http" "scheme" (ternary "HTTPS" "" (ne $tls.existingSecret ""))) -}}
{{- end -}}
{{- end -}}

{{/* What `helm test` asks, beginning with the scheme. */}}
{{- define "holdfast.gateway.testUrl" -}}
{{- $tls := .Values.tls.gateway -}}
{{- if $tls.clientCertificates -}}
{{- $name := ternary "gateway" "gateway-metrics" (eq .Values.gateway.service.type "ClusterIP") -}}
http://{{ include "holdfast.nameOf" (dict "root" . "name" $name) }}:9090
{{- else -}}
http{{ if $tls.existingSecret }}s{{ end }}://{{ include "holdfast.nameOf" (dict "root" . "name" "gateway") }}:8000
{{- end -}}
{{- end -}}

{{/* The port of the gateway's Service by name. */}}
{{- define "holdfast.gateway.port" -}}
{{- get (dict "http" "8000" "bridge" "8001") . -}}
{{- end -}}

{{- define "holdfast.gateway.ingress" -}}
- ports:
    - {protocol: TCP, port: 8000}
    - {protocol: TCP, port: 8001}
  {{- with .Values.networkPolicy.gatewayFrom }}
  from:
    {{- toYaml . | nindent 4 }}
    {{- include "holdfast.peer" (dict "root" $ "component" "test") | nindent 4 }}
  {{- end }}
{{ include "holdfast.metricsIngress" . }}
{{- if .Values.tls.gateway.clientCertificates }}
- from:
    {{- include "holdfast.peer" (dict "root" . "component" "test") | nindent 4 }}
  ports:
    - {protocol: TCP, port: 9090}
{{- end }}
{{- end -}}
