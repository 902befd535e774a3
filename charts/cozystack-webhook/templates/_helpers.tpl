{{- define "cozystack-webhook.labels" -}}
app.kubernetes.io/name: cozystack-webhook
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Pods of the service; the component keeps those of Jobs out of the Services. */}}
{{- define "cozystack-webhook.selectorLabels" -}}
app.kubernetes.io/name: cozystack-webhook
app.kubernetes.io/component: server
{{- end }}

{{- define "cozystack-webhook.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end }}

{{/* What all pods have in common: identity of the process, placement. */}}
{{- define "cozystack-webhook.podSpec" -}}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "cozystack-webhook.container" -}}
image: {{ include "cozystack-webhook.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command:
  - /cozystack-webhook
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop:
      - ALL
{{- end }}

{{/* Names of a Service in the certificate. */}}
{{- define "cozystack-webhook.dnsNames" -}}
{{- range list "cozystack-webhook" "cozystack-webhook-conversion" }}
- {{ . }}
- {{ . }}.{{ $.Release.Namespace }}
- {{ . }}.{{ $.Release.Namespace }}.svc
- {{ . }}.{{ $.Release.Namespace }}.svc.{{ $.Values.tls.clusterDomain }}
{{- end }}
{{- end }}

{{- define "cozystack-webhook.isCertManager" -}}
{{- if eq .Values.tls.source "certManager" }}true{{ end -}}
{{- end }}

{{/* The namespace that stands in generated files; whoever installs elsewhere gets all of it there. */}}
{{- define "cozystack-webhook.generatedNamespace" -}}cozy-webhook{{- end }}

{{/* The documents of a generated file as a JSON list, with the chart's labels and in the release's namespace. */}}
{{- define "cozystack-webhook.generated" -}}
{{- $generated := include "cozystack-webhook.generatedNamespace" . -}}
{{- $namespace := .context.Release.Namespace -}}
{{- $documents := list -}}
{{- $text := required (printf "%s is not in the chart" .file) (.context.Files.Get .file) -}}
{{- range splitList "\n---\n" $text -}}
  {{- $document := fromYaml . -}}
  {{- with $document.Error -}}
    {{- fail (printf "%s: %s" $.file .) -}}
  {{- end -}}
  {{- if $document.kind -}}
    {{- $labels := fromYaml (include "cozystack-webhook.labels" $.context) -}}
    {{- $_ := set $document.metadata "labels" (merge $labels (default dict $document.metadata.labels)) -}}
    {{- range concat (list $document.metadata) (default list $document.subjects) -}}
      {{- if eq (default "" .namespace) $generated -}}
        {{- $_ := set . "namespace" $namespace -}}
      {{- end -}}
    {{- end -}}
    {{- $documents = append $documents $document -}}
  {{- end -}}
{{- end -}}
{{- toJson $documents -}}
{{- end }}

{{/* Labels and annotations of an account, role or binding of the Jobs. */}}
{{- define "cozystack-webhook.setupMetadata" -}}
labels:
  {{- include "cozystack-webhook.labels" .context | nindent 2 }}
annotations:
  helm.sh/hook: pre-install,pre-upgrade,post-install,post-upgrade,post-rollback,pre-delete
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* A Job of a hook: name, events, weight, args. */}}
{{- define "cozystack-webhook.job" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: cozystack-webhook-{{ .name }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "cozystack-webhook.labels" .context | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .events }}
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 300
  # For the logs of one that failed.
  ttlSecondsAfterFinished: 3600
  template:
    metadata:
      labels:
        app.kubernetes.io/name: cozystack-webhook
        app.kubernetes.io/component: setup
        app.kubernetes.io/instance: {{ .context.Release.Name | quote }}
    spec:
      serviceAccountName: cozystack-webhook-setup
      {{- include "cozystack-webhook.podSpec" .context | nindent 6 }}
      restartPolicy: Never
      containers:
        - name: {{ .name }}
          {{- include "cozystack-webhook.container" .context | nindent 10 }}
          args:
            {{- toYaml .args | nindent 12 }}
          env:
            - name: POD_NAMESPACE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.namespace
          resources:
            {{- toYaml .context.Values.hooks.resources | nindent 12 }}
{{- end }}
