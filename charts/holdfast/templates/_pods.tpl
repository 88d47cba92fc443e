{{/*
What all pods have beside their containers and volumes: (dict "root" $ "config" .Values.store "name"
"store" "component" "store"), with "graceSeconds" for what its drain takes. Without service links: a variable for each Service of
the namespace would only look like a setting. Spreading never forbids: one node must be able to run
two replicas.
*/}}
{{- define "holdfast.podCommon" -}}
serviceAccountName: {{ include "holdfast.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
terminationGracePeriodSeconds: {{ include "holdfast.graceSeconds" . }}
{{- with .config.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .config.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .config.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .config.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if kindIs "slice" .config.topologySpreadConstraints }}
{{- with .config.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- else }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "holdfast.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Seconds between SIGTERM and SIGKILL: what was asked for, or what the drain takes. */}}
{{- define "holdfast.graceSeconds" -}}
{{- $needed := ceil .graceSeconds | int -}}
{{- $asked := default $needed .config.terminationGracePeriodSeconds | int -}}
{{- if lt $asked $needed -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d, but stopping takes up to %d: raise it, or lower the seconds that stopping may take." .where $asked $needed) -}}
{{- end -}}
{{- $asked -}}
{{- end -}}

{{/* What all containers have beside command, environment, ports and probes: (dict "root" $ "part" "store" "config" ...). */}}
{{- define "holdfast.containerCommon" -}}
image: {{ include "holdfast.image" (dict "root" .root "part" .part "image" .config.image) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .config.resources | nindent 2 }}
{{- end -}}

{{/*
How the main process starts; under dev.sync it starts anew when one of its own sources changes: those
of the other parts, which Skaffold copies as well, are none of its business.
*/}}
{{- define "holdfast.command" -}}
{{- if .root.Values.dev.sync -}}
command:
  - watchfiles
  - --filter
  - python
  - python -m holdfast_{{ .part }} serve
  {{- range list "" "_chassis" (printf "_%s" .part) }}
  - /app/src/holdfast{{ . }}
  {{- end }}
{{- else -}}
command: [holdfast-{{ .part }}]
args: [serve]
{{- end -}}
{{- end -}}

{{/* The init container that puts the image's sources where they can be changed, under dev.sync. */}}
{{- define "holdfast.seedSources" -}}
- name: seed-sources
  {{- include "holdfast.containerCommon" . | nindent 2 }}
  command: [cp, -r, /app/src/., /seed/]
  volumeMounts:
    - {name: sources, mountPath: /seed}
{{- end -}}

{{/* Mounts of the main container: "mounts" is a list of the component's own. */}}
{{- define "holdfast.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .root.Values.dev.sync }}
- {name: sources, mountPath: /app/src}
{{- end }}
{{- with .mounts }}
{{ toYaml . }}
{{- end }}
{{- range $name, $_ := include "holdfast.secrets" . | fromJson }}
- {name: {{ $name }}, mountPath: /etc/holdfast/{{ $name }}, readOnly: true}
{{- end }}
{{- with .config.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes of the pod: "volumes" is a list of the component's own. */}}
{{- define "holdfast.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- if .root.Values.dev.sync }}
- name: sources
  emptyDir: {sizeLimit: 256Mi}
{{- end }}
{{- with .volumes }}
{{ toYaml . }}
{{- end }}
{{- range $name, $secret := include "holdfast.secrets" . | fromJson }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret | quote }}
    defaultMode: 288 # 0440: for the pod's group
{{- end }}
{{- with .config.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Probes over HTTP. Readiness asks the port that serves, so that a port that does not answer counts,
with "scheme" HTTPS where that is encrypted (nobody looks at the certificate);
liveness asks the metrics port, which a process that is merely busy still answers.
*/}}
{{- define "holdfast.httpProbes" -}}
{{- $probes := .root.Values.probes -}}
startupProbe:
  httpGet: {path: /health, port: metrics}
  {{- toYaml $probes.startup | nindent 2 }}
readinessProbe:
  httpGet: {path: /ready, port: {{ .readyPort }}{{ with .scheme }}, scheme: {{ . }}{{ end }}}
  {{- toYaml $probes.readiness | nindent 2 }}
livenessProbe:
  httpGet: {path: /health, port: metrics}
  {{- toYaml $probes.liveness | nindent 2 }}
{{- end -}}
