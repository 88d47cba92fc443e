{{/*
What the chart sets of a worker group's environment. By its pid, the pod's name, the operator finds
the pod that a member of the store is; it survives a restart of the container.
*/}}
{{- define "holdfast.workerGroup.env" -}}
{{- $prefix := printf "HOLDFAST_%s" (upper .config.program) -}}
- name: {{ $prefix }}_STORE_URL
  value: {{ include "holdfast.storeUrl" .root }}
- name: {{ $prefix }}_GROUP
  value: {{ first .config.groups | quote }}
{{- if eq .config.program "worker" }}
- name: {{ $prefix }}_MODULES
  value: {{ join "," .config.modules | quote }}
{{- else }}
- name: {{ $prefix }}_DATABASE_URL
  {{- with .config.database.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.config.database.key | quote }}
  {{- else }}
  value: sqlite:////data/application.db
  {{- end }}
{{- end }}
- name: {{ $prefix }}_METRICS_LISTEN
  value: {{ printf "%s:9090" .root.Values.listenHost | quote }}
- name: {{ $prefix }}_STOP_SECONDS
  value: {{ .config.stopSeconds | quote }}
- name: {{ $prefix }}_PID
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{- include "holdfast.accessEnv" (dict "root" .root "prefix" $prefix "config" .config) }}
{{- end -}}

{{/* How many pods the Deployment has, where nobody else decides: a number or nothing. */}}
{{- define "holdfast.workerGroup.replicas" -}}
{{- if not (or .root.Values.operator.enabled (eq .config.autoscaling.mode "External")) -}}
{{- max 1 (int .config.autoscaling.min) -}}
{{- end -}}
{{- end -}}
