{{/*
What selects the pods of a component: (dict "root" $ "component" "worker" "group" "db"), the last
for worker groups only. Selectors are immutable: never add to these.
*/}}
{{- define "holdfast.selectorLabels" -}}
app.kubernetes.io/name: {{ include "holdfast.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- with .group }}
holdfast.dev/worker-group: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "holdfast.ownLabels" -}}
{{ include "holdfast.selectorLabels" . }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/version: {{ .root.Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/*
The labels of an object or pod: the chart's own, which nobody can replace, those of "labels", and
those of all objects.
*/}}
{{- define "holdfast.labels" -}}
{{- $own := include "holdfast.ownLabels" . | fromYaml -}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy (default dict .labels)) $own | toYaml -}}
{{- end -}}

{{/*
Name, labels and annotations of an object: (dict "root" $ "name" "store" "component" "store"), with
"labels" and "annotations" for more of them.
*/}}
{{- define "holdfast.metadata" -}}
name: {{ include "holdfast.nameOf" . }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "holdfast.labels" . | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default dict .annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Labels and annotations of a pod; "scraped" says whether a monitor selects it: annotations would
have it scraped twice.
*/}}
{{- define "holdfast.podMetadata" -}}
labels:
  {{- include "holdfast.labels" (merge (dict "labels" .config.podLabels) .) | nindent 2 }}
{{- $annotations := deepCopy .config.podAnnotations }}
{{- if and .root.Values.metrics.annotations (not .scraped) }}
{{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/port" "9090" "prometheus.io/path" "/metrics" }}
{{- $annotations = mergeOverwrite $scrape $annotations }}
{{- end }}
{{- $_ := set $annotations "kubectl.kubernetes.io/default-container" .container }}
annotations:
  {{- toYaml $annotations | nindent 2 }}
{{- end -}}
