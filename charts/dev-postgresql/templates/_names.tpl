{{/* The beginning of all names: the release's name, which says what it is. */}}
{{- define "dev-postgresql.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pod. Selectors are immutable: never add to these. */}}
{{- define "dev-postgresql.selectorLabels" -}}
app.kubernetes.io/name: dev-postgresql
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "dev-postgresql.metadata" -}}
name: {{ include "dev-postgresql.name" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "dev-postgresql.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/component: database
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "dev-postgresql.image" -}}
{{- with .Values.images.postgresql -}}
{{- . -}}
{{- else -}}
{{- with .Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
holdfast-postgresql:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* What both containers have. */}}
{{- define "dev-postgresql.container" -}}
image: {{ include "dev-postgresql.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end -}}
