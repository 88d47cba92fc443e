{{/* The value of app.kubernetes.io/name. */}}
{{- define "holdfast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/*
The beginning of all names: the release's name if it says "holdfast" already. 40 characters leave
room for what follows, whatever the release is called.
*/}}
{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "holdfast.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a component or worker group: (dict "root" $ "name" "store"). */}}
{{- define "holdfast.nameOf" -}}
{{- printf "%s-%s" (include "holdfast.fullname" .root) .name -}}
{{- end -}}

{{/* The ServiceAccount of a component: (dict "root" $ "name" "store" "config" .Values.store). */}}
{{- define "holdfast.serviceAccountName" -}}
{{- default (include "holdfast.nameOf" .) .config.serviceAccount.name -}}
{{- end -}}

{{/* A full image name: (dict "root" $ "part" "store" "image" ""); `image` is a group's own, if any. */}}
{{- define "holdfast.image" -}}
{{- $image := .root.Values.image -}}
{{- $own := default (index .root.Values.images .part) .image -}}
{{- if $own -}}
{{- $own -}}
{{- else -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
holdfast-{{ .part }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/*
Where everybody finds the store. Of several stores each has an address behind the headless name: so
clients spread over them and go back to one that was away, and the operator asks each for its
members. The other name is for the half minute in which a name server still tells addresses of pods
that are gone: the Service behind it leads to one that is ready at once.
*/}}
{{- define "holdfast.storeUrl" -}}
grpc{{ if .Values.tls.store.existingSecret }}s{{ end }}://{{ include "holdfast.nameOf" (dict "root" . "name" "store") }}:50051
{{- if include "holdfast.sharedDatabase" . -}}
,{{ include "holdfast.nameOf" (dict "root" . "name" "store-headless") }}:50051
{{- end -}}
{{- end -}}

{{/* Whether the store has a database that several can share: "true" or nothing. */}}
{{- define "holdfast.sharedDatabase" -}}
{{- if .Values.store.database.existingSecret }}true{{ end -}}
{{- end -}}

{{/* All worker groups by name, each complete, as JSON. */}}
{{- define "holdfast.workerGroups" -}}
{{- $groups := dict -}}
{{- range $name, $own := .Values.workerGroups -}}
{{- if kindIs "map" $own -}}
{{- $group := mergeOverwrite (deepCopy $.Values.workerGroupDefaults) (deepCopy $own) -}}
{{- if not $group.groups -}}{{- $_ := set $group "groups" (list $name) -}}{{- end -}}
{{- $_ := set $groups $name $group -}}
{{- end -}}
{{- end -}}
{{- toJson $groups -}}
{{- end -}}

{{/* Whether a group keeps its application database on a volume of its own: "true" or nothing. */}}
{{- define "holdfast.hasOwnVolume" -}}
{{- if and (eq .program "db") (not .database.existingSecret) }}true{{ end -}}
{{- end -}}
