{{/* Pods of a component of this release, as a peer: (dict "root" $ "component" "gateway"). */}}
{{- define "holdfast.peer" -}}
- podSelector:
    matchLabels:
      {{- include "holdfast.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* Ingress to the metrics port. */}}
{{- define "holdfast.metricsIngress" -}}
{{- with .Values.networkPolicy.metricsFrom }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {protocol: TCP, port: 9090}
{{- end }}
{{- end -}}

{{/* Egress to DNS. */}}
{{- define "holdfast.dnsEgress" -}}
- to:
    {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{/* Egress to the store. */}}
{{- define "holdfast.storeEgress" -}}
- to:
    {{- include "holdfast.peer" (dict "root" . "component" "store") | nindent 4 }}
  ports:
    - {protocol: TCP, port: 50051}
{{- end -}}

{{/* Egress to something outside: a value of networkPolicy with `to` and `ports`. */}}
{{- define "holdfast.outsideEgress" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
A NetworkPolicy: (dict "root" $ "name" "store" "component" "store" "config" .Values.store "ingress"
YAML "egress" YAML); an empty list of rules denies everything.
*/}}
{{- define "holdfast.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "holdfast.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "holdfast.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- $ingress := concat (fromYamlArray .ingress) (default list .config.networkPolicy.extraIngress) }}
  {{- with $ingress }}
  ingress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $egress := concat (fromYamlArray .egress) (default list .config.networkPolicy.extraEgress) }}
  {{- with $egress }}
  egress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
A PodDisruptionBudget: (dict "root" $ "name" "store" "component" "store" "config" .Values.store). A
pod that does not get ready must not keep a node from being drained.
*/}}
{{- define "holdfast.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "holdfast.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .config.pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "holdfast.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* A ServiceAccount, unless there is one already; its token is mounted by nobody who does not ask. */}}
{{- define "holdfast.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "holdfast.metadata" (mergeOverwrite (dict "annotations" .config.serviceAccount.annotations) .) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}

{{/* A claim: (dict "persistence" .Values.store.persistence). */}}
{{- define "holdfast.claimSpec" -}}
accessModes: {{ toJson .persistence.accessModes }}
{{- with .persistence.storageClass }}
storageClassName: {{ ternary "" . (eq . "-") | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .persistence.size | quote }}
{{- end -}}
