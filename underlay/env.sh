# Environment of the package's programs. Source it from bash:  source underlay/env.sh
# It selects the virtual environment, the built messages and, unless you have your own, the
# Fast DDS profile that carries whole images between processes.

_tao_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# A process started by another environment's Python would load that environment's ROS libraries.
if [ -n "${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-}" ]; then
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
fi
if [ -d "$_tao_root/.venv/share/rclpy" ]; then
  export AMENT_PREFIX_PATH="$_tao_root/.venv" CMAKE_PREFIX_PATH="$_tao_root/.venv"
fi
if [ -f "$_tao_root/install/setup.bash" ]; then
  case $- in *u*) _tao_nounset=-u ;; *) _tao_nounset=+u ;; esac
  set +u # colcon's script reads unset variables
  source "$_tao_root/install/setup.bash"
  set "$_tao_nounset"
  unset _tao_nounset
fi
case ":$PATH:" in
  *":$_tao_root/.venv/bin:"*) ;;
  *) export PATH="$_tao_root/.venv/bin:$PATH" ;;
esac
if [ -z "${FASTDDS_DEFAULT_PROFILES_FILE:-}" ]; then
  export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$_tao_root/config/fastdds_profile.xml}"
fi
: "${OMP_WAIT_POLICY:=PASSIVE}" # threads that wait sleep, and leave the processors to others
export OMP_WAIT_POLICY
unset _tao_root
