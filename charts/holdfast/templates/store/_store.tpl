{{/* How long a store waits before it stops, and stopping may take, as JSON. Nobody else could take over a SQLite file. */}}
{{- define "holdfast.store" -}}
{{- $preStop := ternary .Values.store.preStopSeconds 0 (eq (include "holdfast.sharedDatabase" .) "true") -}}
{{- dict "graceSeconds" (addf $preStop .Values.store.drainSeconds 15) "preStopSeconds" $preStop | toJson -}}
{{- end -}}

{{/* Where its database is. */}}
{{- define "holdfast.store.databaseEnv" -}}
- name: HOLDFAST_STORE_DATABASE_URL
  {{- if include "holdfast.sharedDatabase" . }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.store.database.existingSecret | quote }}
      key: {{ .Values.store.database.key | quote }}
  {{- else }}
  value: sqlite:////data/store.db
  {{- end }}
{{- end -}}

{{/* What the chart sets of its environment. */}}
{{- define "holdfast.store.env" -}}
{{ include "holdfast.store.databaseEnv" . }}
- name: HOLDFAST_STORE_LISTEN
  value: {{ printf "%s:50051" .Values.listenHost | quote }}
- name: HOLDFAST_STORE_METRICS_LISTEN
  value: {{ printf "%s:9090" .Values.listenHost | quote }}
- name: HOLDFAST_STORE_DRAIN_MS
  value: {{ mulf .Values.store.drainSeconds 1000 | int64 | quote }}
{{- include "holdfast.authEnv" (dict "root" . "prefix" "HOLDFAST_STORE") }}
{{- if and (include "holdfast.asksForTokens" .) .Values.auth.scalerOpen }}
- name: HOLDFAST_STORE_AUTH_SCALER_OPEN
  value: "1"
{{- end }}
{{- include "holdfast.tlsEnv" (dict "prefix" "HOLDFAST_STORE" "tls" .Values.tls.store) }}
{{- end -}}

{{/*
The pod, the same for a StatefulSet on SQLite and a Deployment on a shared database. Readiness
follows the database; liveness only says that gRPC answers: starting the store anew would not bring
a database back.
*/}}
{{- define "holdfast.store.pod" -}}
{{- $sqlite := not (include "holdfast.sharedDatabase" .) -}}
{{- $facts := include "holdfast.store" . | fromJson -}}
{{- $store := dict "root" . "part" "store" "name" "store" "component" "store" "where" "store" "config" .Values.store -}}
{{- $_ := set $store "graceSeconds" $facts.graceSeconds -}}
{{- if $sqlite -}}
{{- $_ := set $store "mounts" (list (dict "name" "data" "mountPath" "/data")) -}}
{{- with .Values.store.persistence.existingClaim -}}
{{- $_ := set $store "volumes" (list (dict "name" "data" "persistentVolumeClaim" (dict "claimName" .))) -}}
{{- end -}}
{{- end -}}
metadata:
  {{- include "holdfast.podMetadata" (merge (dict "container" "store" "scraped" .Values.metrics.serviceMonitor.enabled) $store) | nindent 2 }}
spec:
  {{- include "holdfast.podCommon" $store | nindent 2 }}
  {{- if or $sqlite .Values.dev.sync }}
  initContainers:
    {{- if .Values.dev.sync }}
    {{- include "holdfast.seedSources" $store | nindent 4 }}
    {{- end }}
    {{- if $sqlite }}
    - name: migrate
      {{- include "holdfast.containerCommon" $store | nindent 6 }}
      command: [holdfast-store]
      args: [migrate{{ if .Values.store.migration.contract }}, --contract{{ end }}]
      env:
        {{- include "holdfast.store.databaseEnv" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: data, mountPath: /data}
    {{- end }}
  {{- end }}
  containers:
    - name: store
      {{- include "holdfast.containerCommon" $store | nindent 6 }}
      {{- include "holdfast.command" $store | nindent 6 }}
      env:
        {{- include "holdfast.env" (merge (dict "own" (include "holdfast.store.env" .)) $store) | nindent 8 }}
      ports:
        - {name: grpc, containerPort: 50051, protocol: TCP}
        - {name: metrics, containerPort: 9090, protocol: TCP}
      {{- if .Values.tls.store.existingSecret }}
      {{- /* The kubelet's gRPC probes know no TLS. */}}
      {{- include "holdfast.httpProbes" (dict "root" . "readyPort" "metrics") | nindent 6 }}
      {{- else }}
      startupProbe:
        grpc: {port: 50051, service: liveness}
        {{- toYaml .Values.probes.startup | nindent 8 }}
      readinessProbe:
        grpc: {port: 50051, service: readiness}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      livenessProbe:
        grpc: {port: 50051, service: liveness}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      {{- end }}
      {{- with $facts.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      volumeMounts:
        {{- include "holdfast.volumeMounts" $store | nindent 8 }}
  volumes:
    {{- include "holdfast.volumes" $store | nindent 4 }}
{{- end -}}
