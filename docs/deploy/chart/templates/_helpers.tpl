{{- define "batchmeter.labels" -}}
app.kubernetes.io/name: batchmeter
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "batchmeter.pod" -}}
{{- $part := .part -}}
{{- with .root -}}
metadata:
  labels:
    app.kubernetes.io/name: batchmeter
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/component: {{ $part }}
  annotations:
    checksum/settings: {{ .Values.settings | sha256sum }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 45
  securityContext: {{- toYaml .Values.podSecurityContext | nindent 4 }}
  volumes:
    - name: settings
      configMap: { name: {{ .Release.Name }}-batchmeter }
    - name: scratch
      emptyDir: {}
  containers:
    - name: {{ $part }}
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      env:
        - { name: BATCHMETER_CONFIG, value: /etc/batchmeter/batchmeter.toml }
        - { name: BATCHMETER_LOG, value: "info,json" }
      envFrom:
        - secretRef: { name: {{ .Values.existingSecret }} }
      volumeMounts:
        - { name: settings, mountPath: /etc/batchmeter, readOnly: true }
        - { name: scratch, mountPath: /tmp }
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
{{- end }}
{{- end }}
